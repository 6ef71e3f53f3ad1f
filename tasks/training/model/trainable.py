"""Open a base model for training: select and count trained parameters, apply LoRA, shard."""

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
from tasks.training.distributed.fsdp import is_sharded, scatter_weights, shard_model
from tasks.training.distributed.ranks import Ranks
from tasks.training.model.last_position import compute_last_position_only
from tasks.training.model.load_options import plan_loading
from tasks.training.settings import FinetuneResources, Part, TrainingSettings

# Parameter names of each part in the thinker (transformers, modeling_qwen3_omni_moe.py); the first
# match counts.
_PATTERNS: Mapping[Part, str] = {
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
_DEFAULT_RESOURCES, _CPU, _META = FinetuneResources(), torch.device("cpu"), torch.device("meta")
# Parameters outside of linear layers, which peft adapts by name.
_BARE_PARAMETERS: Mapping[Part, tuple[str, ...]] = {
    "experts": ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
    "router": ("mlp.gate.weight",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model open for training.

    ``top`` is the model to save, ``trained`` its thinker or the thinker with adapters. ``trained``
    returns logits [batch, 1, vocabulary] of the last position.
    """

    top: Any
    trained: Any
    processor: Any
    token_yes: int
    token_no: int


def open_for_training(
    folder: Path,
    settings: TrainingSettings,
    resources: FinetuneResources = _DEFAULT_RESOURCES,
    device: Any = _CPU,
    ranks: Ranks | None = None,
) -> OpenModel:
    """Open a checked model folder and make the selected parts trainable.

    If the model is sharded over ``ranks``, each process opens its shard.

    Raises:
        ModelError: the folder's content does not fit the model's class.
        ConfigError: the model lacks a selected part, or the device does not support the settings.
        ToolError: a required library is not installed.
    """
    options = plan_loading(settings, resources, device)
    sharded_over = ranks if ranks is not None and is_sharded(resources, ranks) else None
    top, processor = open_base(folder, replace(options, device=_META) if sharded_over else options)
    if resources.gradient_checkpointing:
        top.thinker.gradient_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(settings.seed)
    trained = with_adapters(top.thinker, settings) if settings.method == "lora" else top.thinker
    if settings.method == "full":
        for name, parameter in trained.named_parameters():
            parameter.requires_grad_(part_of(name) in settings.trained_parts)
    _check_trained_parts(count_trained(trained), settings)
    if sharded_over:
        shard_model(top, settings, sharded_over)
        source = _source(folder, options) if sharded_over.is_main else None
        scatter_weights(top, source, sharded_over)
    compute_last_position_only(trained)
    yes, no = answer_token_ids(processor.tokenizer)
    return OpenModel(top=top, trained=trained, processor=processor, token_yes=yes, token_no=no)


def _source(folder: Path, options: LoadOptions) -> Any:
    """Open a base in host memory, in its stored dtype."""
    top, _ = open_base(folder, replace(options, dtype="auto", device=_CPU))
    return top


def with_adapters(thinker: Any, settings: TrainingSettings) -> Any:
    """Add LoRA to every linear layer of the selected parts, and to fused experts and routers.

    peft gets the full names of layers: on MoE models it reduces a pattern to the last component of
    the names, which the towers have in common.
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
    """Return the part of the thinker that a parameter or an adapter's parameter belongs to."""
    name = parameter_name.removeprefix(_PEFT_PREFIX)
    for part, pattern in _PATTERNS.items():
        if re.search(pattern, name):
            return part
    raise ModelError(
        f"The model's parameter {name!r} belongs to no known part of Qwen3-Omni's thinker: use a "
        "model of the Qwen3-Omni-MoE family."
    )


def count_trained(trained: Any) -> dict[str, int]:
    """Count trained parameters by part."""
    counts: Counter[str] = Counter()
    for name, parameter in trained.named_parameters():
        if parameter.requires_grad:
            counts[part_of(name)] += parameter.numel()
    return dict(counts)


def count_parameters(thinker: Any) -> int:
    """Count the thinker's parameters without adapters; 4-bit weights are packed two per byte."""
    return sum(
        p.numel() * (2 if type(p).__name__ == "Params4bit" else 1)
        for name, p in thinker.named_parameters()
        if "lora_" not in name
    )


def _check_trained_parts(counts: Mapping[str, int], settings: TrainingSettings) -> None:
    if absent := sorted(set(settings.trained_parts) - set(counts) - _may_be_absent(settings)):
        raise ConfigError(
            f"finetune.parts names {', '.join(absent)}, but this model has no such parameters: "
            "remove it."
        )
    if unselected := sorted(set(counts) - set(settings.trained_parts)):
        raise ModelError(
            f"Training would also change {', '.join(unselected)}, which finetune.parts does not "
            "name."
        )


def _may_be_absent(settings: TrainingSettings) -> set[Part]:
    """Return the parts a model may lack: dense MLPs are rare here, unless they are requested."""
    return set() if settings.parts else {"mlp"}
