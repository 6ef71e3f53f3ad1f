"""Upper bounds on a request's tokens, known before anything is opened or decoded."""

from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Any

from storage.errors import ConfigError, ModelError
from storage.records import SampleRecord
from storage.store.store import Store
from tasks.log import LOGGER
from tasks.model.model_folder import read_model_config
from tasks.prompting.model_input import InputConfig
from tasks.prompting.prompt import render_chat
from tasks.prompting.token_count import TokenCounter

_TOKENS_PER_AUDIO_SECOND = 13
_ROUND_TO = 64


def longest_request(samples: Iterable[SampleRecord], config: InputConfig, model_path: Path) -> int:
    """Compute an upper bound on the tokens of the longest request, rounded up to a multiple of 64.

    A byte of text is at most one token (byte-level BPE); two frames are at most ``max_pixels``
    divided by the pixels of one merged patch; a second of audio is 13 tokens. The bound is capped
    by the model's own limit: longer segments are rejected by the engine.
    """
    thinker = read_model_config(model_path)["thinker_config"]
    frame_tokens = _frame_tokens(config, thinker)
    bound = max((_bound(sample, config, frame_tokens) for sample in samples), default=0)
    return min(ceil(bound / _ROUND_TO) * _ROUND_TO, _limit(thinker))


def check_limit(max_tokens: int | None, model_path: Path) -> None:
    """Raise ModelError if ``max_tokens`` exceeds the model's own limit."""
    limit = _limit(read_model_config(model_path)["thinker_config"])
    if max_tokens is not None and max_tokens > limit:
        raise ModelError(
            f"The model {str(model_path)!r} takes at most {limit} tokens and the answer, but "
            f"infer.max_tokens is {max_tokens}: lower it, or leave it out."
        )


def check_lengths(
    samples: Iterable[SampleRecord],
    config: InputConfig,
    model_path: Path,
    store: Store,
    *,
    max_tokens: int,
    num_allowed: int,
    prefix: str = "",
) -> None:
    """Warn about samples with more tokens than the engine takes, before it is opened.

    Counts exactly only samples whose upper bound is too high, until the limit is exceeded.
    ``prefix`` starts the message, to name a subset of segments.

    Raises:
        ConfigError: there are more than ``num_allowed``.
    """
    thinker = read_model_config(model_path)["thinker_config"]
    frame_tokens = _frame_tokens(config, thinker)
    rows = list(samples)
    suspects = [s for s in rows if _bound(s, config, frame_tokens) > max_tokens]
    counter = TokenCounter(store, config, model_path) if suspects else None
    num_long = 0
    for sample in suspects:
        num_tokens = counter.count(sample) if counter else 0
        num_long += num_tokens > max_tokens
        if num_long > num_allowed:
            raise ConfigError(
                f"The engine takes {max_tokens} tokens, but {prefix}more segments than the "
                f"{num_allowed} that may be rejected have more, one of them {num_tokens}: "
                f"{length_advice(max_tokens, thinker)}."
            )
    if num_long:
        LOGGER.warning(
            "%s%d of %d segments have more than the %d tokens that the engine takes, and will be "
            "rejected: %s",
            prefix, num_long, len(rows), max_tokens, length_advice(max_tokens, thinker),
        )  # fmt: skip


def length_advice(max_tokens: int, thinker: dict[str, Any]) -> str:
    """Return the settings that make longer segments fit; the model's own limit is fixed."""
    fewer = "use fewer or smaller frames (input.fps, input.max_pixels)"
    return fewer if max_tokens >= _limit(thinker) else f"raise infer.max_tokens, or {fewer}"


def _limit(thinker: dict[str, Any]) -> int:
    """Return how many prompt tokens the model takes besides the answer token."""
    limit: int = thinker["text_config"]["max_position_embeddings"] - 1
    return limit


def by_length(
    samples: Iterable[SampleRecord], config: InputConfig, model_path: Path
) -> list[SampleRecord]:
    """Sort requests by their upper bound, the longest first.

    Batches then contain requests of similar length, and too little memory fails at once.
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
        video=True,
        audio=True,
        transcript=sample.transcript if config.transcript else None,
        transcript_before=sample.transcript_before,
        answer=config.answer,
    )
    num_frames = ceil(seconds * config.fps) + 1
    return (
        len(chat.encode())
        + ceil(num_frames / 2) * frame_tokens
        + (ceil(seconds) + 1) * _TOKENS_PER_AUDIO_SECOND
    )
