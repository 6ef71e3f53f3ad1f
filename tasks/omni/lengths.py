"""How many tokens a request can hold at most, known before anything is opened or decoded."""

from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Any

from storage.records import SampleRecord
from tasks.omni.checkpoint import read_model_config
from tasks.omni.inputs import InputConfig
from tasks.omni.prompt import render_chat

_TOKENS_PER_SOUND_SECOND = 13
_ROUND_TO = 64


def longest_request(samples: Iterable[SampleRecord], config: InputConfig, model_path: Path) -> int:
    """Bound the tokens of the longest of these requests from above, in whole 64s.

    A byte of text makes at most one token (byte-level BPE); two frames make at most
    ``max_pixels`` over the pixels of one merged patch; a second of sound makes 13. The model's own
    limit caps the bound: what is longer than that is refused when its turn comes.
    """
    thinker = read_model_config(model_path)["thinker_config"]
    frame_tokens = _frame_tokens(config, thinker)
    bound = max((_bound(sample, config, frame_tokens) for sample in samples), default=0)
    limit = thinker["text_config"]["max_position_embeddings"] - 1
    return min(ceil(bound / _ROUND_TO) * _ROUND_TO, limit)


def by_length(
    samples: Iterable[SampleRecord], config: InputConfig, model_path: Path
) -> list[SampleRecord]:
    """Order requests by their bound, the longest first.

    Batches then hold requests of about one length, and memory that does not suffice shows at once.
    """
    frame_tokens = _frame_tokens(config, read_model_config(model_path)["thinker_config"])
    return sorted(samples, key=lambda sample: -_bound(sample, config, frame_tokens))


def _frame_tokens(config: InputConfig, thinker: dict[str, Any]) -> int:
    vision = thinker["vision_config"]
    token_side = vision["patch_size"] * vision["spatial_merge_size"]
    return ceil(config.max_pixels / token_side**2)


def _bound(sample: SampleRecord, config: InputConfig, frame_tokens: int) -> int:
    seconds = (sample.end_ms - sample.start_ms) / 1000
    chat = render_chat(
        config.prompt,
        picture=True,
        sound=True,
        words=sample.words if config.words else None,
        before=sample.words_before,
        answer=config.answer,
    )
    num_frames = ceil(seconds * config.fps) + 1
    return (
        len(chat.encode())
        + ceil(num_frames / 2) * frame_tokens
        + (ceil(seconds) + 1) * _TOKENS_PER_SOUND_SECOND
    )
