"""The model's prediction for one segment: two log-probabilities and the request's token counts."""

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
    """The number of tokens of each modality in one request."""

    num_text_tokens: int
    num_video_tokens: int
    num_audio_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The raw log-probabilities of Yes and No at the first generated position."""

    logp_yes: float
    logp_no: float
    token_counts: TokenCounts

    @property
    def p_ah(self) -> float:
        """The probability of A/H."""
        return prompt.p_ah(self.logp_yes, self.logp_no)

    @property
    def answer_mass(self) -> float:
        """The probability of Yes and No together, over the whole vocabulary, in [0, 1]."""
        return min(exp(self.logp_yes) + exp(self.logp_no), 1.0)


def count_tokens(token_ids: Sequence[int], model_config: dict[str, Any]) -> TokenCounts:
    """Count a request's tokens by modality; ``model_config`` is the content of ``config.json``."""
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
    """Check that all of a segment's video and audio reaches the model.

    The expected numbers are known (`video_tokens`, `audio_tokens`); a placeholder that was not
    expanded counts as one token. ``model_config`` is the content of ``config.json``.

    Raises:
        StageError: tokens are missing, which affects all segments alike and rejects none.
    """
    num_samples = 0 if inputs.audio is None else inputs.audio.size
    for modality, count, minimum in (
        ("video", token_counts.num_video_tokens, _num_video(inputs, model_config)),
        ("audio", token_counts.num_audio_tokens, audio_tokens(num_samples // HOP_SAMPLES)),
    ):
        if count < minimum:
            raise StageError(
                f"A segment's {modality} has {count} tokens in the engine, expected {minimum} or "
                f"more: the {modality} does not reach the model. Use the library versions Waver is "
                "locked to."
            )


def _num_video(inputs: OmniInput, model_config: dict[str, Any]) -> int:
    if inputs.frames is None:
        return 0
    token_side = token_side_of(model_config)
    return video_tokens(*inputs.frames.shape[:3], size=inputs.size, token_side=token_side)


def check_log_probabilities(logp_yes: float, logp_no: float) -> None:
    """Check that the model's outputs are log-probabilities.

    Raises:
        StageError: they are not, due to the weights or the number type and not the segment.
    """
    if not (isfinite(logp_yes) and isfinite(logp_no) and max(logp_yes, logp_no) <= 1e-3):
        raise StageError(
            f"The model's log-probabilities of Yes and No are {logp_yes!r} and {logp_no!r}: its "
            "weights are damaged or overflow; try infer.dtype=float32."
        )
