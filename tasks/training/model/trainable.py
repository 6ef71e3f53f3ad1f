"""The model to train: opened, its trained parts chosen and counted, its answer alone computed."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from storage.errors import ConfigError, ModelError
from tasks.model.loading import LoadOptions, open_base
from tasks.prompting.prompt import answer_token_ids
from tasks.training.distributed import deepspeed as zero
from tasks.training.distributed.fsdp import is_sharded, shard_model, spread_weights
from tasks.training.distributed.ranks import Ranks
from tasks.training.model.last_position import compute_last_position_only
from tasks.training.model.load_options import plan_loading
from tasks.training.settings import FinetuneResources, Part, TrainingSettings

# Where each part's parameters lie in the thinker (transformers, modeling_qwen3_omni_moe.py); the
# first pattern that is found counts.
_PLACES: Mapping[Part, str] = {
    "projector": r"^visual\.merger|^audio_tower\.proj[12]\.",
    "vision": r"^visual\.",
    "audio": r"^audio_tower\.",
    "experts": r"\.mlp\.experts\.",
    "router": r"\.mlp\.gate\.",
    "mlp": r"\.mlp\.",
    "attention": r"\.self_attn\.",
    "embedding": r"^model\.embed_tokens\.",
    "norms": r"^model\..*norm\.",
    "head": r"^lm_head\.",
}
_PEFT_PREFIX = "base_model.model."
_PLAIN, _CPU, _META = FinetuneResources(), torch.device("cpu"), torch.device("meta")
# Not linear layers but parameters, which peft adapts by name.
_BARE_PARAMETERS: Mapping[Part, tuple[str, ...]] = {
    "experts": ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
    "router": ("mlp.gate.weight",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model open for training.

    ``top`` is what is saved, ``trained`` its thinker or the thinker under adapters. ``trained``
    gives logits [batch, 1, vocabulary] of the last position alone.
    """

    top: Any
    trained: Any
    processor: Any
    token_yes: int
    token_no: int


def open_for_training(
    folder: Path,
    settings: TrainingSettings,
    resources: FinetuneResources = _PLAIN,
    device: Any = _CPU,
    ranks: Ranks | None = None,
) -> OpenModel:
    """Open a checked model folder and make the chosen parts trainable.

    Given ``ranks`` that share the model out, each opens its part of it.

    Raises:
        ModelError: the folder's content does not fit the model's class.
        ConfigError: the model has no such part, or the device cannot do what is asked for.
        ToolError: a library is missing.
    """
    opening = plan_loading(settings, resources, device)
    shared_by = ranks if ranks is not None and is_sharded(resources, ranks) else None
    top, processor = open_base(folder, replace(opening, device=_META) if shared_by else opening)
    if resources.gradient_checkpointing:
        top.thinker.gradient_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(settings.seed)
    trained = with_adapters(top.thinker, settings) if settings.method == "lora" else top.thinker
    if settings.method == "full":
        for name, parameter in trained.named_parameters():
            parameter.requires_grad_(part_of(name) in settings.trained_parts)
    _check_token_counts(token_counts(trained), settings)
    if shared_by:
        shard_model(top, settings, resources, shared_by)
        spread_weights(top, _source(folder, opening) if shared_by.is_first else None, shared_by)
    compute_last_position_only(trained)
    yes, no = answer_token_ids(processor.tokenizer)
    return OpenModel(top=top, trained=trained, processor=processor, token_yes=yes, token_no=no)


def _source(folder: Path, opening: LoadOptions) -> Any:
    """Open a base in host memory, as it is stored."""
    top, _ = open_base(folder, replace(opening, dtype="auto", device=_CPU))
    return top


def with_adapters(thinker: Any, settings: TrainingSettings) -> Any:
    """Put LoRA beside every linear layer of the chosen parts, and on fused experts and routers.

    Layers go to peft as a list of whole names: on MoE models it reduces a pattern to the last part
    of the names, which the towers share.
    """
    from peft import LoraConfig, get_peft_model

    bare = [name for part in settings.trained_parts for name in _BARE_PARAMETERS.get(part, ())]
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=_linear_layers(thinker, settings.trained_parts),
        target_parameters=bare or None,
    )
    return get_peft_model(thinker, config)


def _linear_layers(thinker: Any, parts: tuple[Part, ...]) -> list[str]:
    return [
        name
        for name, module in thinker.named_modules()
        if isinstance(module, nn.Linear) and part_of(f"{name}.weight") in parts
    ]


def part_of(parameter_name: str) -> Part:
    """Say which part of the thinker a parameter, or an adapter's parameter, belongs to."""
    name = parameter_name.removeprefix(_PEFT_PREFIX)
    for part, location in _PLACES.items():
        if re.search(location, name):
            return part
    raise ModelError(
        f"The model has a parameter {name!r} that no known part of Qwen3-Omni's thinker has: use a "
        "model of the Qwen3-Omni-MoE family."
    )


def token_counts(trained: Any) -> dict[str, int]:
    """Count trained numbers by part."""
    counts: Counter[str] = Counter()
    for name, parameter in trained.named_parameters():
        if parameter.requires_grad:
            counts[part_of(name)] += zero.num_elements(parameter)
    return dict(counts)


def num_parameters(thinker: Any) -> int:
    """Count all of the thinker's own numbers, without adapters; 4-bit ones lie two to a byte."""
    return sum(
        zero.num_elements(p) * (2 if type(p).__name__ == "Params4bit" else 1)
        for name, p in thinker.named_parameters()
        if "lora_" not in name
    )


def _check_token_counts(counts: Mapping[str, int], settings: TrainingSettings) -> None:
    if absent := sorted(set(settings.trained_parts) - set(counts) - _may_be_absent(settings)):
        raise ConfigError(
            f"finetune.parts names {', '.join(absent)}, but nothing in this model belongs to it: "
            "leave it out."
        )
    if foreign := sorted(set(counts) - set(settings.trained_parts)):
        raise ModelError(
            f"Training would also change {', '.join(foreign)}, which finetune.parts does not name."
        )


def _may_be_absent(settings: TrainingSettings) -> set[Part]:
    """Dense feed-forward layers are few or none in these models; only by name are they demanded."""
    return set() if settings.parts else {"mlp"}
