"""The sandbox's voices: their names, and how prosody alone expresses yes (+1) or no (-1).

The voice stance moves every voice between two bands of pitch that hardly depend on the speaker:
at full strength the median f0 of a sentence is at 90-125 Hz for -1 and at 185-240 Hz for +1
(``tests/infra/sandbox/test_speech.py`` measures it), flat against lively. The speech rate is
independent of the stance: otherwise the number of words in a segment would reveal it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infra.sandbox.espeak import Prosody, SpokenWord, Utterance, synthesize

__all__ = [
    "ACCENTS",
    "HELD_OUT_VOICES",
    "TRAIN_VOICES",
    "Prosody",
    "SpokenWord",
    "Stance",
    "Utterance",
    "Voice",
    "draw_prosody",
    "speak",
]

Stance = Literal[-1, 1]

ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029")
# espeak-ng's variants with the pitch settings that put the median f0 at 95 and 230 Hz, or as near
# as the variant goes. Variants that cannot leave 130-170 Hz are not used.
_TRAIN_VARIANTS = {
    "Alex": (46, 99),
    "Gene2": (40, 99),
    "Marco": (29, 99),
    "Reed": (42, 99),
    "antonio": (47, 99),
    "aunty": (8, 71),
    "ed": (35, 99),
    "f1": (0, 69),
    "f2": (0, 60),
    "f3": (0, 49),
    "f5": (0, 55),
    "pablo": (46, 99),
    "steph": (0, 66),
}
_HELD_OUT_VARIANTS = {"Nguyen": (13, 90), "f4": (0, 69), "miguel": (47, 99), "shelby": (0, 68)}

_NEGATIVE_RANGE, _POSITIVE_RANGE = 10, 85
_SLOWEST, _FASTEST = 126, 170  # words per minute
_MAX_WORD_GAP = 4  # in espeak-ng's units of 10 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One participant's voice: an espeak-ng accent and variant, with its two stances' pitch."""

    name: str
    """espeak-ng's name, for example "en-us+f1"."""
    negative_pitch: int
    positive_pitch: int


def _voices(variants: dict[str, tuple[int, int]]) -> tuple[Voice, ...]:
    return tuple(
        Voice(name=f"{accent}+{variant}", negative_pitch=low, positive_pitch=high)
        for variant, (low, high) in variants.items()
        for accent in ACCENTS
    )


TRAIN_VOICES = _voices(_TRAIN_VARIANTS)
HELD_OUT_VOICES = _voices(_HELD_OUT_VARIANTS)
"""Variants that no sandbox model is trained on, each in every accent."""


def speak(
    text: str, voice: Voice, stance: Stance, rng: np.random.Generator, cue_strength: float = 1.0
) -> Utterance:
    """Speak ``text`` with the voice stance's prosody, slightly varied by ``rng``.

    ``cue_strength`` in (0, 1] interpolates from the voice's neutral to the stance's full prosody.
    The same text, voice, stance, strength and generator state give the same samples.
    """
    return synthesize(text, voice.name, draw_prosody(voice, stance, rng, cue_strength))


def draw_prosody(
    voice: Voice, stance: Stance, rng: np.random.Generator, cue_strength: float = 1.0
) -> Prosody:
    """Draw one utterance's prosody; raises ValueError for a strength outside (0, 1]."""
    if not 0 < cue_strength <= 1:
        raise ValueError(f"cue_strength is {cue_strength!r}; expected a number in (0, 1]")
    if stance not in (-1, 1):
        raise ValueError(f"stance is {stance!r}; expected -1 or 1")

    def between(negative: int, positive: int, jitter: int) -> int:
        middle, half = (negative + positive) / 2, (positive - negative) / 2
        return round(middle + stance * cue_strength * half + rng.uniform(-jitter, jitter))

    pitch = between(voice.negative_pitch, voice.positive_pitch, 2)
    pitch_range = between(_NEGATIVE_RANGE, _POSITIVE_RANGE, 5)
    return Prosody(
        pitch=min(99, max(0, pitch)),
        pitch_range=min(99, max(0, pitch_range)),
        rate=int(rng.integers(_SLOWEST, _FASTEST + 1)),
        word_gap=int(rng.integers(0, _MAX_WORD_GAP + 1)),
    )
