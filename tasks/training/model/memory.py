"""What a training needs in memory, known from the base's configuration before it is opened.

Counted: weights, gradients, AdamW's two moments, what the layers keep for the backward pass, under
LoRA on experts the layers' merged experts (peft adds the adapters to whole weights), and where
processes share the model out, what each gathers at a time. What layers keep was held against what
autograd saves on the small base: the estimate is 0.9 to 1.7 times that, over LoRA and full
training, both precisions, with and without checkpointing.
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
_ADAM_NUMBERS = 2
_KEPT_MARGIN = 1.02  # allocators round up,
_PASSING_MARGIN = 1.25  # and leave gaps in what comes and goes
_FIXED = 1 << 30  # libraries and their kernels
_FOUR_BITS = 0.55  # bytes a number, with the scales of its block
_TEXT_LINEAR = ("attention", "mlp")
_TOWERS = ("vision", "audio", "projector")
_OUTSIDE_LAYERS = ("embedding", "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """A base's thinker: numbers by part, and what one rank of LoRA adds to each part."""

    numbers: dict[str, int]
    per_rank: dict[str, int]
    text: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that one process needs at its peak."""

    weights: int
    trained: int
    layers: int
    gathered: int = 0

    @property
    def total(self) -> int:
        """All together, with what the libraries take."""
        kept = (self.weights + self.trained) * _KEPT_MARGIN
        return int(kept + (self.layers + self.gathered) * _PASSING_MARGIN) + _FIXED

    def __str__(self) -> str:
        gathered = f", gathered from other processes {_gib(self.gathered)}" if self.gathered else ""
        return (
            f"{_gib(self.total)} GiB (weights {_gib(self.weights)}, gradients and optimizer "
            f"{_gib(self.trained)}, layers' memory for the backward pass {_gib(self.layers)}"
            f"{gathered})"
        )


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f}"


def read_shapes(folder: Path) -> Shapes:
    """Count a checked base's numbers without opening its weights."""
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeThinkerForConditionalGeneration

    config = Qwen3OmniMoeConfig.from_pretrained(folder).thinker_config
    with torch.device("meta"):
        thinker = Qwen3OmniMoeThinkerForConditionalGeneration(config)
    numbers: dict[str, int] = {}
    per_rank: dict[str, int] = {}
    linear = {f"{name}.weight" for name, m in thinker.named_modules() if isinstance(m, nn.Linear)}
    for name, parameter in thinker.named_parameters():
        part = part_of(name)
        numbers[part] = numbers.get(part, 0) + parameter.numel()
        if name in linear or part in ("experts", "router"):
            *stack, rows, columns = parameter.shape
            width = (rows + columns) * (stack[0] if stack else 1)
            per_rank[part] = per_rank.get(part, 0) + width
    return Shapes(numbers=numbers, per_rank=per_rank, text=config.text_config)


def estimate(
    shapes: Shapes,
    settings: TrainingSettings,
    resources: FinetuneResources,
    *,
    longest: int,
    num_processes: int = 1,
) -> MemoryEstimate:
    """Estimate a process's peak for micro-batches whose longest sample has that many tokens."""
    layers = _layer_bytes(shapes, settings, resources, longest=longest)
    if resources.sharding != "none" and num_processes > 1:
        return _estimate_part(shapes, settings, layers, num_processes)
    parts = settings.trained_parts
    counts = shapes.numbers if settings.method == "full" else shapes.per_rank
    trained = sum(counts.get(part, 0) for part in parts)
    trained *= 1 if settings.method == "full" else settings.rank
    weights = _weight_bytes(shapes, settings)
    if settings.method == "lora":
        weights += trained * _FLOAT32
    return MemoryEstimate(
        weights=weights,
        trained=trained * _FLOAT32 * (1 + _ADAM_NUMBERS),
        layers=layers,
    )


def _estimate_part(
    shapes: Shapes, settings: TrainingSettings, layers: int, num_processes: int
) -> MemoryEstimate:
    """Estimate for one of the processes among which everything but the towers is shared out."""
    size = getattr(torch, settings.precision).itemsize
    weights, trained = 0, 0
    for part, count in shapes.numbers.items():
        held = count if part in _TOWERS else count // num_processes
        is_trained = part in settings.trained_parts
        weights += held * (_FLOAT32 if is_trained else size)
        trained += held * _FLOAT32 * (1 + _ADAM_NUMBERS) if is_trained else 0
    outside = sum(shapes.numbers.get(part, 0) for part in _OUTSIDE_LAYERS)
    inside = sum(shapes.numbers.values()) - outside
    inside -= sum(shapes.numbers.get(part, 0) for part in _TOWERS)
    # One layer and the next; the gradients of one, and sums in the making of two.
    a_layer = (3 * size + 2 * _FLOAT32) * inside // shapes.text.num_hidden_layers
    gathered = a_layer + 2 * size * outside
    return MemoryEstimate(weights=weights, trained=trained, layers=layers, gathered=gathered)


def _weight_bytes(shapes: Shapes, settings: TrainingSettings) -> int:
    size = load_dtype(settings).itemsize
    if settings.quantize == "none":
        return sum(shapes.numbers.values()) * size
    small = sum(shapes.numbers.get(part, 0) for part in _TEXT_LINEAR)
    return (sum(shapes.numbers.values()) - small) * size + int(small * _FOUR_BITS)


def _layer_bytes(
    shapes: Shapes, settings: TrainingSettings, resources: FinetuneResources, *, longest: int
) -> int:
    """What all layers keep until their gradients are made, and the copies that this takes."""
    text, size = shapes.text, load_dtype(settings).itemsize
    num_layers, num_tokens = text.num_hidden_layers, longest * resources.micro_batch_size
    kept = _bytes_per_token(text, settings) * num_tokens
    merged = 0
    if settings.method == "lora" and "experts" in settings.trained_parts:
        merged = shapes.numbers["experts"] * size // num_layers
    passing = 2 * merged  # gradients of one layer's merged experts
    logits = 3 * _FLOAT32 * text.vocab_size * resources.micro_batch_size
    if resources.gradient_checkpointing:
        inputs = text.hidden_size * size * num_tokens * (num_layers + 1)
        return inputs + kept + merged + passing + logits
    casts = _cast_bytes(shapes, settings)
    last = _bytes_per_token_of_last(text) * num_tokens
    return (num_layers - 1) * kept + last + num_layers * merged + passing + logits + casts


def _bytes_per_token(text: Any, settings: TrainingSettings) -> int:
    """What one layer keeps of one token: norms in float32, products in their own number type."""
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
    """What the last layer keeps, of which only the answer's position is computed further."""
    keys = text.num_key_value_heads * text.head_dim
    return (2 * text.hidden_size + 4 * keys) * _FLOAT32


def _cast_bytes(shapes: Shapes, settings: TrainingSettings) -> int:
    """Copies in bfloat16 of weights that are trained in float32."""
    if (settings.method, settings.precision) != ("full", "bfloat16"):
        return 0
    return 2 * sum(shapes.numbers.get(part, 0) for part in ("attention", "mlp", "head"))


def check_memory(
    shapes: Shapes,
    settings: TrainingSettings,
    resources: FinetuneResources,
    *,
    longest: int,
    free: int,
    num_processes: int = 1,
) -> MemoryEstimate:
    """Refuse a training that its device cannot hold, before anything is loaded.

    Raises:
        StageError: says what is needed, what there is, and which settings would fit.
    """
    size = partial(estimate, shapes, longest=longest, num_processes=num_processes)
    need = size(settings, resources)
    if need.total <= free:
        return need
    fitting = [
        message
        for message, changed, on in _alternatives(settings, resources, num_processes)
        if size(changed, on).total <= free
    ]
    way_out = (
        f"these would fit: {'; or '.join(fitting[:3])}"
        if fitting
        else ("no setting makes it fit: use a device with more memory, or lower input.max_pixels")
    )
    raise StageError(
        f"Training needs about {need} for samples of up to {longest} tokens, but "
        f"{_gib(free)} GiB are free: {way_out}."
    )


def _alternatives(
    settings: TrainingSettings, resources: FinetuneResources, num_processes: int
) -> Iterable[tuple[str, TrainingSettings, FinetuneResources]]:
    """Give milder settings, those first that change least of the result."""
    smaller = resources.micro_batch_size
    while smaller > 1:
        smaller //= 2
        on = resources.model_copy(update={"micro_batch_size": smaller})
        yield f"resources.finetune.micro_batch_size = {smaller}", settings, on
    on = resources.model_copy(update={"gradient_checkpointing": True})
    yield "resources.finetune.gradient_checkpointing = true", settings, on
    on = on.model_copy(update={"micro_batch_size": 1})
    message = "resources.finetune.gradient_checkpointing = true and micro_batch_size = 1"
    yield message, settings, on
    if settings.method == "full" and num_processes > 1 and resources.sharding == "none":
        message = "resources.finetune.sharding = fsdp"
        yield message, settings, resources.model_copy(update={"sharding": "fsdp"})
        message += ", gradient_checkpointing = true and micro_batch_size = 1"
        yield message, settings, on.model_copy(update={"sharding": "fsdp"})
    yield from _adapters(settings, resources, on)


def _adapters(
    settings: TrainingSettings, resources: FinetuneResources, deferred: FinetuneResources
) -> Iterable[tuple[str, TrainingSettings, FinetuneResources]]:
    """Give training of adapters alone, which are not shared out."""
    adapters = settings.model_copy(
        update={"method": "lora", "precision": "bfloat16", "parts": ("attention",)}
    )
    message = 'finetune.method = lora, precision = bfloat16 and parts = ["attention"]'
    whole = {"sharding": "none"}
    if resources.sharding != "none":
        message += ", with resources.finetune.sharding = none"
    yield message, adapters, resources.model_copy(update=whole)
    message += ", with gradient_checkpointing and micro_batch_size = 1"
    yield message, adapters, deferred.model_copy(update=whole)
