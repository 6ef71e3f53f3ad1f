"""Vision and audio features in place of pixels and mel spectrograms, for frozen towers.

Rows from `encode_rows` contain, instead of ``pixel_values_videos`` and ``input_features``,
``video_features`` [tokens, (1 + D) * hidden] (the merger's output concatenated with the features of
D deepstack layers) and ``audio_features`` [tokens, hidden]. A thinker prepared by
`accept_features` takes both kinds of rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from tasks.prompting.model_input import InputConfig, collate_rows, token_ids
from tasks.prompting.prompt import render_chat

Row = dict[str, torch.Tensor]

VERSION = 1  # bump when the same towers compute other features of the same segment

VIDEO, AUDIO, NUM_HOPS = "video_features", "audio_features", "num_hops"
POSITIONS = "position_ids"
_PIXELS, _MELS = "pixel_values_videos", "input_features"


def are_towers_frozen(thinker: Any) -> bool:
    """Return whether no parameter of the vision and audio towers, with projectors, is trained."""
    return not any(
        parameter.requires_grad for tower in _towers(thinker) for parameter in tower.parameters()
    )


def move_towers(thinker: Any, device: torch.device) -> None:
    """Move the towers to a device, before the language model."""
    for tower in _towers(thinker):
        tower.to(device)


def _towers(thinker: Any) -> tuple[Any, Any]:
    return thinker.visual, thinker.audio_tower


def bytes_per_token(thinker: Any, dtype: torch.dtype) -> tuple[int, int]:
    """Return the bytes of one video token's and of one audio token's features."""
    hidden = thinker.config.text_config.hidden_size * dtype.itemsize
    return hidden * (1 + len(thinker.config.vision_config.deepstack_visual_indexes)), hidden


@torch.no_grad()
def encode_rows(thinker: Any, rows: Sequence[Row], pad_token_id: int) -> list[Row]:
    """Run the towers over a batch of rows; returns rows with features, on the CPU."""
    device = next(thinker.visual.parameters()).device
    batch = {name: value.to(device) for name, value in collate_rows(rows, pad_token_id).items()}
    videos = _encode_videos(thinker, batch) if _PIXELS in batch else iter(())
    audios = _encode_audios(thinker, batch) if _MELS in batch else iter(())
    encoded = []
    for row in rows:
        features = {name: value for name, value in row.items() if name not in (_PIXELS, _MELS)}
        if _PIXELS in row:
            features[VIDEO] = next(videos).cpu()
        if _MELS in row:
            num_hops = torch.tensor([row[_MELS].shape[-1]])
            features |= {AUDIO: next(audios).cpu(), NUM_HOPS: num_hops}
        encoded.append(features)
    return encoded


def _encode_videos(thinker: Any, batch: Mapping[str, torch.Tensor]) -> Any:
    output = thinker.get_video_features(batch[_PIXELS], batch["video_grid_thw"], return_dict=True)
    layers = [output.pooler_output, *output.deepstack_features]  # each: [tokens, hidden] per row
    return (torch.cat(parts, dim=-1).contiguous() for parts in zip(*layers, strict=True))


def _encode_audios(thinker: Any, batch: Mapping[str, torch.Tensor]) -> Any:
    mask = batch["feature_attention_mask"]
    features = thinker.get_audio_features(batch[_MELS], mask, return_dict=True).last_hidden_state
    ids = batch["input_ids"]
    counts = (ids == thinker.config.audio_token_id).sum(dim=-1)
    return iter(torch.split(features, counts[counts > 0].tolist()))


def row_of_features(
    processor: Any, config: InputConfig, stored: Row, *, transcript: str, transcript_before: str
) -> Row:
    """Return a segment's row from its stored features and its prompt."""
    text = render_chat(
        config.prompt,
        video=VIDEO in stored,
        audio=AUDIO in stored,
        transcript=transcript if config.transcript else None,
        transcript_before=transcript_before,
        answer=config.answer,
    )
    lengths = {name: len(stored[name]) if name in stored else 0 for name in (VIDEO, AUDIO)}
    ids = token_ids(processor, text, num_video=lengths[VIDEO], num_audio=lengths[AUDIO])
    return {**stored, "input_ids": ids}


def with_positions(thinker: Any, row: Row) -> Row:
    """Add a row's position ids [3, tokens], which are the same in every step."""
    ids = row["input_ids"][None]
    positions, _ = thinker.get_rope_index(
        ids,
        video_grid_thw=row.get("video_grid_thw"),
        attention_mask=torch.ones_like(ids),
        audio_seqlens=row.get(NUM_HOPS),
        second_per_grids=row.get("video_second_per_grid"),
    )
    return {**row, POSITIONS: positions[:, 0]}


def accept_features(thinker: Any) -> None:
    """Make the thinker's forward accept batches of `collate_features`."""
    thinker.register_forward_pre_hook(_insert_features, with_kwargs=True)


def _insert_features(thinker: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Pass features to the forward by its own arguments: encoder outputs and input embeddings."""
    video, audio = options.pop(VIDEO, None), options.pop(AUDIO, None)
    # Even without audio: with a sharded model, processes must gather layers in the same order.
    embeds = thinker.get_input_embeddings()(options["input_ids"])
    if audio is not None:
        is_audio = (options["input_ids"] == thinker.config.audio_token_id)[..., None]
        embeds = embeds.masked_scatter(is_audio.expand_as(embeds), audio.to(embeds.dtype))
    options["inputs_embeds"] = embeds
    if video is not None:
        options["mm_encoder_outputs"] = {"video": _encoder_output(thinker, video)}
    return arguments, options


def _encoder_output(thinker: Any, video: torch.Tensor) -> Any:
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
        BaseModelOutputWithDeepstackFeatures,
    )

    merged, *layers = torch.split(video, thinker.config.text_config.hidden_size, dim=-1)
    return BaseModelOutputWithDeepstackFeatures(
        pooler_output=(merged,), deepstack_features=[(layer.contiguous(),) for layer in layers]
    )


def collate_features(rows: Sequence[Row], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Collate rows into one left-padded batch for a thinker prepared by `accept_features`."""
    batch = collate_rows(rows, pad_token_id)
    for name in (VIDEO, AUDIO):
        if parts := [row[name] for row in rows if name in row]:
            batch[name] = torch.cat(parts)
    if hops := [torch.ones(int(row[NUM_HOPS])) for row in rows if NUM_HOPS in row]:
        mask = pad_sequence(hops, True).long()
        batch["feature_attention_mask"] = mask  # audio positions are computed from it
    if parts := [row[POSITIONS].T for row in rows if POSITIONS in row]:
        batch[POSITIONS] = pad_sequence(parts, True, 0, "left").permute(2, 0, 1)
    return batch
