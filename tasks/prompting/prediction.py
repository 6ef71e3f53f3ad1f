"""The model's answer about one segment: two log-probabilities, and what was read to give them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any

from storage.errors import StageError
from tasks.prompting import prompt
from tasks.prompting.model_input import HOP_SAMPLES, OmniInput
from tasks.prompting.token_count import audio_tokens, token_side_of, video_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """How many tokens of each kind one request holds, as the engine counts them."""

    num_text_tokens: int
    num_video_tokens: int
    num_audio_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Raw log-probabilities of Yes and No at the first generated position."""

    logp_yes: float
    logp_no: float
    token_counts: TokenCounts

    @property
    def p_ah(self) -> float:
        """The probability of A/H."""
        return prompt.p_ah(self.logp_yes, self.logp_no)

    @property
    def answer_mass(self) -> float:
        """How much of the whole vocabulary's probability Yes and No hold together, in [0, 1]."""
        return min(exp(self.logp_yes) + exp(self.logp_no), 1.0)


def count_tokens(token_ids: Sequence[int], model_config: dict[str, Any]) -> TokenCounts:
    """Count a request's tokens by kind; ``model_config`` is the content of ``config.json``."""
    thinker = model_config["thinker_config"]
    ids = list(token_ids)
    num_video = ids.count(thinker["video_token_id"])
    num_audio = ids.count(thinker["audio_token_id"])
    return TokenCounts(
        num_text_tokens=len(ids) - num_video - num_audio,
        num_video_tokens=num_video,
        num_audio_tokens=num_audio,
    )


def check_token_counts(
    token_counts: TokenCounts, inputs: OmniInput, model_config: dict[str, Any]
) -> None:
    """Stop a run in which the engine leaves out what it was given.

    What picture and sound make is known (`video_tokens`, `audio_tokens`); a marker that was not
    filled counts as one. ``model_config`` is the content of ``config.json``.

    Raises:
        StageError: it hits every segment alike, so none is rejected for it.
    """
    num_samples = 0 if inputs.audio is None else inputs.audio.size
    for kind, count, least in (
        ("video", token_counts.num_video_tokens, _num_video(inputs, model_config)),
        ("audio", token_counts.num_audio_tokens, audio_tokens(num_samples // HOP_SAMPLES)),
    ):
        if count < least:
            raise StageError(
                f"The engine made {count} tokens of a segment's {kind}, expected {least} or more: "
                f"the {kind} does not reach the model. Use the library versions Waver is locked to."
            )


def _num_video(inputs: OmniInput, model_config: dict[str, Any]) -> int:
    if inputs.frames is None:
        return 0
    token_side = token_side_of(model_config)
    return video_tokens(*inputs.frames.shape[:3], size=inputs.size, token_side=token_side)


def check_numbers(logp_yes: float, logp_no: float) -> None:
    """Stop a run whose model answers with what is no log-probability.

    Raises:
        StageError: the weights or the number type are at fault, not the segment.
    """
    if not (isfinite(logp_yes) and isfinite(logp_no) and max(logp_yes, logp_no) <= 1e-3):
        raise StageError(
            f"The model's log-probabilities of Yes and No are {logp_yes!r} and {logp_no!r}: its "
            "weights are damaged or overflow; try infer.dtype=float32."
        )
