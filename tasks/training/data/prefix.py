"""The words that all rows of a batch begin with are computed once for all of them.

Every question begins with the same instruction (see tasks/prompting/prompt.py). The language model runs
over it once, in a batch of one; the rows then look at its keys and values as at the past of a
conversation. The numbers and gradients are those of the whole rows, up to the order of sums.
"""

from typing import Any

import torch

_WORTH = 16  # positions saved; fewer cost more in a second pass than they save


def reuse_prefix(thinker: Any) -> Any:
    """Let the thinker's language model compute a batch's common beginning once.

    Gives the hook's handle, which ends it by ``remove``.
    """
    return thinker.model.register_forward_pre_hook(_split_off, with_kwargs=True)


def _split_off(model: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Give the rows without their beginning to the forward, and the beginning as their past."""
    if not _can_share(model, options):
        return arguments, options
    embeds, positions = options["inputs_embeds"], options["position_ids"]
    there = options["attention_mask"].bool()
    length = _common_length(embeds, there, options.get("visual_pos_masks"))
    if length * (len(embeds) - 1) < _WORTH:
        return arguments, options
    first = int(there[0].int().argmax())
    started = slice(first, first + length)
    past = model(
        inputs_embeds=embeds[:1, started], position_ids=positions[:, :1, started], use_cache=True
    ).past_key_values
    past.batch_repeat_interleave(len(embeds))
    return arguments, {**options, **_rest(options, there, length), "past_key_values": past}


def _can_share(model: Any, options: dict[str, Any]) -> bool:
    """Layers that are computed again for their gradients, to spare memory, take no past."""
    has_all = all(
        options.get(name) is not None
        for name in ("inputs_embeds", "position_ids", "attention_mask")
    )
    is_batch = has_all and len(options["inputs_embeds"]) > 1
    return is_batch and options.get("past_key_values") is None and not model.gradient_checkpointing


def _common_length(embeds: torch.Tensor, there: torch.Tensor, videos: torch.Tensor | None) -> int:
    """Count the positions that are alike in all rows from their beginning, up to any picture.

    The last position of each row, where its answer is asked for, is never among them.
    """
    locations = _shifted(there)
    columns = torch.arange(there.shape[1], device=there.device)
    alike = columns < there.sum(-1).min() - 1
    started = torch.stack([row[location] for row, location in zip(embeds, locations, strict=True)])
    alike &= (started == started[:1]).all(-1).all(0)
    if videos is not None:
        alike &= ~videos.gather(1, locations).any(0)
    return int(alike.int().cumprod(0).sum())


def _shifted(there: torch.Tensor) -> torch.Tensor:
    """Give the places [batch, tokens] of each row's positions from its own beginning on."""
    columns = torch.arange(there.shape[1], device=there.device)
    first = there.int().argmax(-1, keepdim=True)
    return (columns + first).clamp(max=there.shape[1] - 1)


def _rest(options: dict[str, Any], there: torch.Tensor, length: int) -> dict[str, Any]:
    """Cut the beginning out of what the forward was given; padding stays on the left."""
    columns = torch.arange(there.shape[1] - length, device=there.device)
    first = there.int().argmax(-1, keepdim=True)
    locations = columns + length * (columns >= first)  # [batch, tokens left]
    past = there.new_ones(len(there), length)
    rows = torch.arange(len(there), device=there.device)[:, None]
    videos = options.get("visual_pos_masks")
    return {
        "inputs_embeds": options["inputs_embeds"][rows, locations],
        "position_ids": options["position_ids"][:, rows, locations],
        "attention_mask": torch.cat([past, there.gather(1, locations)], 1).long(),
        "visual_pos_masks": None if videos is None else videos.gather(1, locations),
    }
