"""The model's answer about one segment: two log-probabilities, and what was read to give them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any

from storage.errors import StageError
from tasks.prompting import prompt
from tasks.prompting.model_input import HOP_SAMPLES, OmniInput
from tasks.prompting.token_count import picture_tokens, sound_tokens, token_side_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How many tokens of each kind one request holds, as the engine counts them."""

    num_text_tokens: int
    num_picture_tokens: int
    num_sound_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Raw log-probabilities of Yes and No at the first generated position."""

    logp_yes: float
    logp_no: float
    census: Census

    @property
    def p_ah(self) -> float:
        """The probability of A/H."""
        return prompt.p_ah(self.logp_yes, self.logp_no)

    @property
    def answer_mass(self) -> float:
        """How much of the whole vocabulary's probability Yes and No hold together, in [0, 1]."""
        return min(exp(self.logp_yes) + exp(self.logp_no), 1.0)


def count_tokens(token_ids: Sequence[int], model_config: dict[str, Any]) -> Census:
    """Count a request's tokens by kind; ``model_config`` is the content of ``config.json``."""
    thinker = model_config["thinker_config"]
    ids = list(token_ids)
    num_picture = ids.count(thinker["video_token_id"])
    num_sound = ids.count(thinker["audio_token_id"])
    return Census(
        num_text_tokens=len(ids) - num_picture - num_sound,
        num_picture_tokens=num_picture,
        num_sound_tokens=num_sound,
    )


def check_census(census: Census, inputs: OmniInput, model_config: dict[str, Any]) -> None:
    """Stop a run in which the engine leaves out what it was given.

    What picture and sound make is known (`picture_tokens`, `sound_tokens`); a marker that was not
    filled counts as one. ``model_config`` is the content of ``config.json``.

    Raises:
        StageError: it hits every segment alike, so none is rejected for it.
    """
    num_samples = 0 if inputs.sound is None else inputs.sound.size
    for kind, count, least in (
        ("picture", census.num_picture_tokens, _num_picture(inputs, model_config)),
        ("sound", census.num_sound_tokens, sound_tokens(num_samples // HOP_SAMPLES)),
    ):
        if count < least:
            raise StageError(
                f"The engine made {count} tokens of a segment's {kind}, expected {least} or more: "
                f"the {kind} does not reach the model. Use the library versions Waver is locked to."
            )


def _num_picture(inputs: OmniInput, model_config: dict[str, Any]) -> int:
    if inputs.frames is None:
        return 0
    token_side = token_side_of(model_config)
    return picture_tokens(*inputs.frames.shape[:3], size=inputs.size, token_side=token_side)


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
