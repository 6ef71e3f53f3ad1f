"""Compared with transformers' classes and the weight names of the small base."""

import re
from typing import get_args

import pytest
import torch
from torch import nn

from tasks.model.weights import weight_names
from tasks.ms_swift.parts import bare_parameters, linear_layers, parameter_pattern
from tasks.training.model.trainable import part_of
from tasks.training.settings import Part

PARTS = [part for part in get_args(Part) if part != "mlp"]  # every layer of the base has experts


@pytest.fixture(scope="module")
def thinker(tiny_omni):
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeThinkerForConditionalGeneration

    with torch.device("meta"):
        return Qwen3OmniMoeThinkerForConditionalGeneration(
            Qwen3OmniMoeConfig.from_pretrained(tiny_omni).thinker_config
        )


@pytest.mark.parametrize("part", PARTS)
def test_the_linear_layers_of_a_part_are_those_that_waver_adapts(thinker, tiny_omni, part):
    linear = {
        f"thinker.{name}"
        for name, module in thinker.named_modules()
        if isinstance(module, nn.Linear) and part_of(f"{name}.weight") == part
    }
    assert set(linear_layers((part,), weight_names(tiny_omni))) == linear


@pytest.mark.parametrize("part", PARTS)
def test_the_pattern_matches_exactly_the_parameters_of_a_part(thinker, part):
    pattern = re.compile(parameter_pattern((part,)))
    names = [name for name, _ in thinker.named_parameters()]
    found = {name for name in names if pattern.search(f"thinker.{name}")}
    assert found == {name for name in names if part_of(name) == part}


def test_experts_and_routers_are_adapted_by_their_name_suffixes(thinker):
    suffixes = bare_parameters(("attention", "experts", "router"))
    found = [n for n, _ in thinker.named_parameters() if n.endswith(tuple(suffixes))]
    assert {part_of(name) for name in found} == {"experts", "router"}
    assert len(found) == 3 * thinker.config.text_config.num_hidden_layers


def test_dense_layers_are_found_too():
    names = [f"thinker.model.layers.0.mlp.{name}.weight" for name in ("up_proj", "gate", "experts")]
    assert linear_layers(("mlp",), names) == ["thinker.model.layers.0.mlp.up_proj"]
    assert linear_layers(("experts",), names) == []
