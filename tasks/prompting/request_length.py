"""How many tokens a request can hold at most, known before anything is opened or decoded."""

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
from tasks.prompting.token_count import TokenCount

_TOKENS_PER_AUDIO_SECOND = 13
_ROUND_TO = 64


def longest_request(samples: Iterable[SampleRecord], config: InputConfig, model_path: Path) -> int:
    """Bound the tokens of the longest of these requests from above, in whole 64s.

    A byte of text makes at most one token (byte-level BPE); two frames make at most
    ``max_pixels`` over the pixels of one merged patch; a second of sound makes 13. The model's own
    limit caps the bound: what is longer than that is rejected when its turn comes.
    """
    thinker = read_model_config(model_path)["thinker_config"]
    frame_tokens = _frame_tokens(config, thinker)
    bound = max((_bound(sample, config, frame_tokens) for sample in samples), default=0)
    return min(ceil(bound / _ROUND_TO) * _ROUND_TO, _limit(thinker))


def check_limit(max_tokens: int | None, model_path: Path) -> None:
    """Refuse a stated limit that is above the model's own.

    Raises:
        ModelError: the model takes no request of so many tokens.
    """
    limit = _limit(read_model_config(model_path)["thinker_config"])
    if max_tokens is not None and max_tokens > limit:
        raise ModelError(
            f"The model {str(model_path)!r} takes at most {limit} tokens and the answer, "
            f"infer.max_tokens asks for {max_tokens}: lower it, or leave it out."
        )


def check_lengths(
    samples: Iterable[SampleRecord],
    config: InputConfig,
    model_path: Path,
    store: Store,
    *,
    max_tokens: int,
    num_allowed: int,
    whose: str = "",
) -> None:
    """Warn of samples that make more tokens than the engine takes, before it is opened.

    Only those are counted whose bound is higher, and no more than decide. ``whose`` says which
    segments they are, where that is not plain.

    Raises:
        ConfigError: they are more than may be rejected.
    """
    thinker = read_model_config(model_path)["thinker_config"]
    frame_tokens = _frame_tokens(config, thinker)
    rows = list(samples)
    suspects = [s for s in rows if _bound(s, config, frame_tokens) > max_tokens]
    count = TokenCount(store, config, model_path) if suspects else None
    num_long = 0
    for sample in suspects:
        num_tokens = count.of(sample) if count else 0
        num_long += num_tokens > max_tokens
        if num_long > num_allowed:
            raise ConfigError(
                f"The engine takes {max_tokens} tokens, but {whose}more segments than the "
                f"{num_allowed} that may be rejected make more, one of them {num_tokens}: "
                f"{way_out(max_tokens, thinker)}."
            )
    if num_long:
        LOGGER.warning(
            "%s%d of %d segments make more than the %d tokens that the engine takes, and will be "
            "rejected: %s",
            whose, num_long, len(rows), max_tokens, way_out(max_tokens, thinker),
        )  # fmt: skip


def way_out(max_tokens: int, thinker: dict[str, Any]) -> str:
    """Say what makes longer segments fit; the model's own limit cannot be raised."""
    less = "show less of what is too long (input.fps, input.max_pixels)"
    return less if max_tokens >= _limit(thinker) else f"raise infer.max_tokens, or {less}"


def _limit(thinker: dict[str, Any]) -> int:
    """Give how many tokens the model takes beside the answer's."""
    limit: int = thinker["text_config"]["max_position_embeddings"] - 1
    return limit


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
        video=True,
        audio=True,
        transcript=sample.transcript if config.transcript else None,
        before=sample.transcript_before,
        answer=config.answer,
    )
    num_frames = ceil(seconds * config.fps) + 1
    return (
        len(chat.encode())
        + ceil(num_frames / 2) * frame_tokens
        + (ceil(seconds) + 1) * _TOKENS_PER_AUDIO_SECOND
    )
