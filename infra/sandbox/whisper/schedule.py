"""The training schedule: short windows first, then long ones, then all 30 s of positions, as in
inference; last, many more voices and warped spectra, to generalize to held-out voices.
"""

from dataclasses import dataclass
from math import cos, pi

import numpy as np

MAX_FRAMES = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The number of windows in a batch, and their range of lengths in seconds."""

    num_windows: int
    shortest: float
    longest: float

    def draw_seconds(self, rng: np.random.Generator) -> float:
        """Draw a length, mostly near the longest; three in ten anywhere from the shortest."""
        low = self.shortest if rng.random() < 0.3 else max(self.shortest, 0.6 * self.longest)
        return float(rng.uniform(low, self.longest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training with one mix of window lengths."""

    name: str
    num_steps: int
    groups: tuple[Group, ...]
    chances: tuple[float, ...]
    full_positions: bool = False
    """Pad every window to 30 s, as in inference; otherwise slightly beyond the longest one."""
    many_voices: bool = False
    """Draw from the wide bank, and bend the spectra of half the windows."""

    def num_frames(self, longest: int, rng: np.random.Generator) -> int:
        """Return the frames of a batch whose longest window has ``longest``; always even."""
        if self.full_positions:
            return MAX_FRAMES
        padding = rng.uniform(10, 150) if rng.random() < 0.8 else rng.uniform(100, 500)
        return min(MAX_FRAMES, 2 * (int(longest + padding) // 2))


_SHORT = Group(num_windows=24, shortest=1.2, longest=6)
_MIDDLE = Group(num_windows=12, shortest=1.2, longest=13)
_LONG = Group(num_windows=6, shortest=8, longest=24)
PHASES = (
    Phase(name="short", num_steps=900, groups=(_SHORT,), chances=(1.0,)),
    Phase(name="long", num_steps=900, groups=(_SHORT, _MIDDLE, _LONG), chances=(0.3, 0.55, 0.15)),
    Phase(
        name="full",
        num_steps=500,
        groups=(Group(num_windows=8, shortest=1.2, longest=13), _LONG),
        chances=(0.8, 0.2),
        full_positions=True,
    ),
    Phase(
        name="voices",
        num_steps=900,
        groups=(
            Group(num_windows=8, shortest=1.2, longest=13),
            Group(num_windows=8, shortest=8, longest=28),
        ),
        chances=(0.65, 0.35),
        full_positions=True,
        many_voices=True,
    ),
)
NUM_STEPS = sum(phase.num_steps for phase in PHASES)
_VOICES_STEP = NUM_STEPS - PHASES[-1].num_steps
_WARM_UP, _LAST = 150, 0.02


def phase_at(step: int) -> Phase | None:
    """Return a step's phase, or ``None`` after the last step."""
    for phase in PHASES:
        if step < phase.num_steps:
            return phase
        step -= phase.num_steps
    return None


def learning_rate_at(step: int) -> float:
    """Return warm-up and half a cosine over the first phases together, and again for the last."""
    if step < _VOICES_STEP:
        return _half_cosine(2.5e-3, step, _VOICES_STEP)
    return _half_cosine(1.5e-3, step - _VOICES_STEP, PHASES[-1].num_steps)


def _half_cosine(peak: float, step: int, num_steps: int) -> float:
    decay = max(_LAST, 0.5 * (1 + cos(pi * step / num_steps)))
    return peak * min(1.0, (step + 1) / _WARM_UP) * decay
