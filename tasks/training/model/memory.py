"""Estimate of a training's peak memory, from the base model's configuration alone.

Counted: weights, gradients, AdamW's two moments, activations saved for the backward pass, with LoRA
on experts each layer's merged experts (peft adds adapters to full weights), and with sharding the
weights gathered at a time. Activations were compared with what autograd saves on the sandbox's base
model: the estimate is 0.9 to 1.7 times that, over LoRA and full training, both precisions, with and
without gradient checkpointing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from storage.errors import StageError
from tasks.training.model.load_options import load_dtype
from tasks.training.model.trainable import part_of
from tasks.training.settings import FinetuneResources, TrainingSettings

_FLOAT32 = 4
_NUM_MOMENTS = 2
_STATIC_MARGIN = 1.02  # allocators round sizes up
_DYNAMIC_MARGIN = 1.25  # fragmentation
_FIXED = 1 << 30  # libraries and their kernels
_FOUR_BITS = 0.55  # bytes per parameter, with the scale of its block
_TEXT_LINEAR = ("attention", "mlp")
_TOWERS = ("vision", "audio", "projector")
_OUTSIDE_LAYERS = ("embedding", "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """Parameters of a base's thinker by part, and those that each rank of LoRA adds."""

    parameters: dict[str, int]
    lora_per_rank: dict[str, int]
    text_config: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Peak memory of one process in bytes."""

    weights: int
    optimizer: int
    activations: int
    gathered: int = 0

    @property
    def total(self) -> int:
        """The total, with margins and the libraries."""
        static = (self.weights + self.optimizer) * _STATIC_MARGIN
        return int(static + (self.activations + self.gathered) * _DYNAMIC_MARGIN) + _FIXED

    def __str__(self) -> str:
        gathered = f", gathered from other processes {_gib(self.gathered)}" if self.gathered else ""
        return (
            f"{_gib(self.total)} GiB (weights {_gib(self.weights)}, gradients and optimizer "
            f"{_gib(self.optimizer)}, activations {_gib(self.activations)}"
            f"{gathered})"
        )


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f}"


def read_model_sizes(folder: Path) -> ModelSizes:
    """Count a checked base's parameters without reading its weights."""
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeThinkerForConditionalGeneration

    config = Qwen3OmniMoeConfig.from_pretrained(folder).thinker_config
    with torch.device("meta"):
        thinker = Qwen3OmniMoeThinkerForConditionalGeneration(config)
    parameters: dict[str, int] = {}
    lora_per_rank: dict[str, int] = {}
    linear = {f"{name}.weight" for name, m in thinker.named_modules() if isinstance(m, nn.Linear)}
    for name, parameter in thinker.named_parameters():
        part = part_of(name)
        parameters[part] = parameters.get(part, 0) + parameter.numel()
        if name in linear or part in ("experts", "router"):
            *stack, rows, columns = parameter.shape
            width = (rows + columns) * (stack[0] if stack else 1)
            lora_per_rank[part] = lora_per_rank.get(part, 0) + width
    return ModelSizes(
        parameters=parameters, lora_per_rank=lora_per_rank, text_config=config.text_config
    )


def estimate(
    sizes: ModelSizes,
    settings: TrainingSettings,
    resources: FinetuneResources,
    *,
    longest: int,
    num_processes: int = 1,
) -> MemoryEstimate:
    """Estimate one process's peak; ``longest`` is the number of tokens of the longest sample."""
    activations = _activation_bytes(sizes, settings, resources, longest=longest)
    if resources.sharding != "none" and num_processes > 1:
        return _estimate_sharded(sizes, settings, activations, num_processes)
    parts = settings.trained_parts
    counts = sizes.parameters if settings.method == "full" else sizes.lora_per_rank
    trained = sum(counts.get(part, 0) for part in parts)
    trained *= 1 if settings.method == "full" else settings.rank
    weights = _weight_bytes(sizes, settings)
    if settings.method == "lora":
        weights += trained * _FLOAT32
    return MemoryEstimate(
        weights=weights,
        optimizer=trained * _FLOAT32 * (1 + _NUM_MOMENTS),
        activations=activations,
    )


def _estimate_sharded(
    sizes: ModelSizes, settings: TrainingSettings, activations: int, num_processes: int
) -> MemoryEstimate:
    """Estimate one process's peak if all but the towers is sharded."""
    size = getattr(torch, settings.precision).itemsize
    weights, optimizer = 0, 0
    for part, count in sizes.parameters.items():
        held = count if part in _TOWERS else count // num_processes
        is_trained = part in settings.trained_parts
        weights += held * (_FLOAT32 if is_trained else size)
        optimizer += held * _FLOAT32 * (1 + _NUM_MOMENTS) if is_trained else 0
    outside = sum(sizes.parameters.get(part, 0) for part in _OUTSIDE_LAYERS)
    inside = sum(sizes.parameters.values()) - outside
    inside -= sum(sizes.parameters.get(part, 0) for part in _TOWERS)
    # Weights of a layer and the next; gradients of one, and float32 sums of two.
    layer_bytes = (3 * size + 2 * _FLOAT32) * inside // sizes.text_config.num_hidden_layers
    gathered = layer_bytes + 2 * size * outside
    return MemoryEstimate(
        weights=weights, optimizer=optimizer, activations=activations, gathered=gathered
    )


def _weight_bytes(sizes: ModelSizes, settings: TrainingSettings) -> int:
    size = load_dtype(settings).itemsize
    if settings.quantize == "none":
        return sum(sizes.parameters.values()) * size
    quantized = sum(sizes.parameters.get(part, 0) for part in _TEXT_LINEAR)
    return (sum(sizes.parameters.values()) - quantized) * size + int(quantized * _FOUR_BITS)


def _activation_bytes(
    sizes: ModelSizes, settings: TrainingSettings, resources: FinetuneResources, *, longest: int
) -> int:
    """Return the bytes of activations of all layers, and of copies of their weights."""
    text, size = sizes.text_config, load_dtype(settings).itemsize
    num_layers, num_tokens = text.num_hidden_layers, longest * resources.micro_batch_size
    per_layer = _bytes_per_token(text, settings) * num_tokens
    merged = 0
    if settings.method == "lora" and "experts" in settings.trained_parts:
        merged = sizes.parameters["experts"] * size // num_layers
    gradients = 2 * merged  # of one layer's merged experts
    logits = 3 * _FLOAT32 * text.vocab_size * resources.micro_batch_size
    if resources.gradient_checkpointing:
        inputs = text.hidden_size * size * num_tokens * (num_layers + 1)
        return inputs + per_layer + merged + gradients + logits
    casts = _cast_bytes(sizes, settings)
    last = _bytes_per_token_of_last(text) * num_tokens
    return (num_layers - 1) * per_layer + last + num_layers * merged + gradients + logits + casts


def _bytes_per_token(text: Any, settings: TrainingSettings) -> int:
    """Return the bytes a layer saves per token: norms in float32, products in their own dtype."""
    hidden, inner = text.hidden_size, text.moe_intermediate_size
    queries = text.num_attention_heads * text.head_dim
    keys = text.num_key_value_heads * text.head_dim
    norms = 4 * hidden + 2 * (queries + keys)
    attention = hidden + 5 * queries
    experts = text.num_experts_per_tok * (2 * hidden + 4 * inner)
    product_size = getattr(torch, settings.precision).itemsize
    expert_size = load_dtype(settings).itemsize
    return norms * _FLOAT32 + attention * product_size + experts * expert_size


def _bytes_per_token_of_last(text: Any) -> int:
    """Return the bytes the last layer saves per token: mostly keys and values."""
    keys = text.num_key_value_heads * text.head_dim
    return (2 * text.hidden_size + 4 * keys) * _FLOAT32


def _cast_bytes(sizes: ModelSizes, settings: TrainingSettings) -> int:
    """Return the bytes of bfloat16 copies of weights that are trained in float32."""
    if (settings.method, settings.precision) != ("full", "bfloat16"):
        return 0
    return 2 * sum(sizes.parameters.get(part, 0) for part in ("attention", "mlp", "head"))


def check_memory(
    sizes: ModelSizes,
    settings: TrainingSettings,
    resources: FinetuneResources,
    *,
    longest: int,
    free: int,
    num_processes: int = 1,
) -> MemoryEstimate:
    """Raise if a training does not fit into memory, before anything is loaded.

    Raises:
        StageError: with needed and free memory, and settings that would fit.
    """
    estimated = partial(estimate, sizes, longest=longest, num_processes=num_processes)
    needed = estimated(settings, resources)
    if needed.total <= free:
        return needed
    fitting = [
        description
        for description, changed, changed_resources in _alternatives(
            settings, resources, num_processes
        )
        if estimated(changed, changed_resources).total <= free
    ]
    advice = (
        f"these would fit: {'; or '.join(fitting[:3])}"
        if fitting
        else "no settings fit: use a device with more memory, or lower input.max_pixels"
    )
    raise StageError(
        f"Training needs about {needed} for samples of up to {longest} tokens, but "
        f"{_gib(free)} GiB are free: {advice}."
    )


def _alternatives(
    settings: TrainingSettings, resources: FinetuneResources, num_processes: int
) -> Iterable[tuple[str, TrainingSettings, FinetuneResources]]:
    """Yield settings that need less memory, those first that change the result least."""
    smaller = resources.micro_batch_size
    while smaller > 1:
        smaller //= 2
        changed = resources.model_copy(update={"micro_batch_size": smaller})
        yield f"resources.finetune.micro_batch_size = {smaller}", settings, changed
    changed = resources.model_copy(update={"gradient_checkpointing": True})
    yield "resources.finetune.gradient_checkpointing = true", settings, changed
    smallest = changed.model_copy(update={"micro_batch_size": 1})
    description = "resources.finetune.gradient_checkpointing = true and micro_batch_size = 1"
    yield description, settings, smallest
    if settings.method == "full" and num_processes > 1 and resources.sharding == "none":
        description = "resources.finetune.sharding = fsdp"
        yield description, settings, resources.model_copy(update={"sharding": "fsdp"})
        description += ", gradient_checkpointing = true and micro_batch_size = 1"
        yield description, settings, smallest.model_copy(update={"sharding": "fsdp"})
    yield from _with_lora(settings, resources, smallest)


def _with_lora(
    settings: TrainingSettings, resources: FinetuneResources, smallest: FinetuneResources
) -> Iterable[tuple[str, TrainingSettings, FinetuneResources]]:
    """Yield LoRA on attention, which cannot be sharded."""
    adapters = settings.model_copy(
        update={"method": "lora", "precision": "bfloat16", "parts": ("attention",)}
    )
    description = 'finetune.method = lora, precision = bfloat16 and parts = ["attention"]'
    unsharded = {"sharding": "none"}
    if resources.sharding != "none":
        description += ", with resources.finetune.sharding = none"
    yield description, adapters, resources.model_copy(update=unsharded)
    description += ", with gradient_checkpointing and micro_batch_size = 1"
    yield description, adapters, smallest.model_copy(update=unsharded)
