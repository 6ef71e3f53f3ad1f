"""Prefix reuse: the tokens that all rows of a batch start with are computed once.

Every prompt starts with the same instruction (tasks/prompting/prompt.py). The language model
computes its keys and values in a batch of one; the rows then attend to them as to a KV cache.
Outputs and gradients equal those of the full rows up to the order of sums.
"""

from typing import Any

import torch

_MIN_SAVED = 16  # positions; saving fewer costs more in the second pass


def reuse_prefix(thinker: Any) -> Any:
    """Make the thinker's language model compute a batch's common prefix once.

    Returns the hook's handle; ``remove`` undoes it.
    """
    return thinker.model.register_forward_pre_hook(_split_prefix, with_kwargs=True)


def _split_prefix(model: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Replace the rows' common prefix by its keys and values."""
    if not _can_reuse(model, options):
        return arguments, options
    embeds, positions = options["inputs_embeds"], options["position_ids"]
    mask = options["attention_mask"].bool()
    length = _common_length(embeds, mask, options.get("visual_pos_masks"))
    if length * (len(embeds) - 1) < _MIN_SAVED:
        return arguments, options
    first = int(mask[0].int().argmax())
    prefix = slice(first, first + length)
    past = model(
        inputs_embeds=embeds[:1, prefix], position_ids=positions[:, :1, prefix], use_cache=True
    ).past_key_values
    past.batch_repeat_interleave(len(embeds))
    return arguments, {**options, **_without_prefix(options, mask, length), "past_key_values": past}


def _can_reuse(model: Any, options: dict[str, Any]) -> bool:
    """Gradient checkpointing is excluded: recomputed layers accept no KV cache."""
    has_all = all(
        options.get(name) is not None
        for name in ("inputs_embeds", "position_ids", "attention_mask")
    )
    is_batch = has_all and len(options["inputs_embeds"]) > 1
    return is_batch and options.get("past_key_values") is None and not model.gradient_checkpointing


def _common_length(embeds: torch.Tensor, mask: torch.Tensor, videos: torch.Tensor | None) -> int:
    """Return the length of the rows' common prefix, which ends before any video token.

    It never includes the last position of a row, where the answer is predicted.
    """
    indices = _indices_without_padding(mask)
    columns = torch.arange(mask.shape[1], device=mask.device)
    is_common = columns < mask.sum(-1).min() - 1
    aligned = torch.stack([row[index] for row, index in zip(embeds, indices, strict=True)])
    is_common &= (aligned == aligned[:1]).all(-1).all(0)
    if videos is not None:
        is_common &= ~videos.gather(1, indices).any(0)
    return int(is_common.int().cumprod(0).sum())


def _indices_without_padding(mask: torch.Tensor) -> torch.Tensor:
    """Return indices [batch, tokens] of each row's positions, starting after its left padding."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    first = mask.int().argmax(-1, keepdim=True)
    return (columns + first).clamp(max=mask.shape[1] - 1)


def _without_prefix(options: dict[str, Any], mask: torch.Tensor, length: int) -> dict[str, Any]:
    """Cut the prefix out of the forward's arguments; padding stays on the left."""
    columns = torch.arange(mask.shape[1] - length, device=mask.device)
    first = mask.int().argmax(-1, keepdim=True)
    indices = columns + length * (columns >= first)  # [batch, remaining tokens]
    past = mask.new_ones(len(mask), length)
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    videos = options.get("visual_pos_masks")
    return {
        "inputs_embeds": options["inputs_embeds"][rows, indices],
        "position_ids": options["position_ids"][:, rows, indices],
        "attention_mask": torch.cat([past, mask.gather(1, indices)], 1).long(),
        "visual_pos_masks": None if videos is None else videos.gather(1, indices),
    }
