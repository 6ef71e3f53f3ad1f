"""Training windows that resemble faster-whisper's input to the model after its voice filter:
several sentences with pauses, cut anywhere, with reverberation, varying levels and noise.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infra.sandbox.espeak import SpokenWord
from infra.sandbox.speech import Stance
from infra.sandbox.whisper.bank import Bank, BankEntry
from storage.records import AUDIO_SAMPLE_RATE

MAX_SECONDS = 30.0
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One stretch of audio and its sentences; a sentence lists only the words inside the window."""

    samples: Floats
    sentences: tuple[tuple[SpokenWord, ...], ...]

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.samples) / AUDIO_SAMPLE_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scheduled:
    start: float
    entry: BankEntry


def draw_window(bank: Bank, seconds: float, rng: np.random.Generator) -> Window:
    """Draw a window of about ``seconds``; one in sixty contains no speech."""
    if rng.random() < 1 / 60:
        silence = np.zeros(int(seconds * AUDIO_SAMPLE_RATE), np.float32)
        return Window(samples=_soil(silence, rng), sentences=())
    speed = float(rng.uniform(0.9, 1.12)) if rng.random() < 0.6 else 1.0
    lead = float(rng.uniform(0.5, 2.5)) if rng.random() < 0.1 else 0.0
    cut_end = rng.random() < 0.15
    scheduled = _schedule(bank, lead + seconds, cut_end, speed, rng)
    last = scheduled[-1].start + scheduled[-1].entry.words[-1].end_ms / 1000 / speed
    tail = float(rng.uniform(0.03, 0.6) if rng.random() < 0.7 else rng.uniform(0.3, 1.5))
    stop = lead + seconds if cut_end else max(last + tail, lead + 0.5)
    stop = min(stop, lead + MAX_SECONDS)
    samples = _mix(bank, scheduled, lead, stop, speed, rng)
    sentences = tuple(_inside(p, lead, stop, speed) for p in scheduled)
    return Window(samples=_soil(samples, rng), sentences=tuple(s for s in sentences if s))


def _schedule(
    bank: Bank, until: float, cut_end: bool, speed: float, rng: np.random.Generator
) -> list[_Scheduled]:
    """Put one voice's sentences after one another until ``until`` seconds are filled."""
    names = list(bank.entries)
    voice = bank.entries[names[rng.integers(len(names))]]
    stance: Stance = 1 if rng.random() < 0.5 else -1
    now = float(rng.uniform(0, 0.7) if rng.random() < 0.9 else rng.uniform(0.7, 1.7))
    calm = rng.random() < 0.3
    scheduled: list[_Scheduled] = []
    while True:
        entry = voice[stance][rng.integers(len(voice[stance]))]
        length = entry.words[-1].end_ms / 1000 / speed
        if scheduled and now + length > until and not cut_end:
            return scheduled
        scheduled.append(_Scheduled(start=now, entry=entry))
        now += length + _pause(calm, rng)
        if now > until:
            return scheduled
        if rng.random() < 0.3:
            stance = 1 if stance == -1 else -1


def _pause(calm: bool, rng: np.random.Generator) -> float:
    """Draw the seconds between sentences: mostly short, in calm windows mostly long."""
    chance = rng.random()
    if chance < (0.2 if calm else 0.65):
        return float(rng.uniform(0.12, 0.6))
    return float(rng.uniform(0.6, 1.4) if chance < 0.95 else rng.uniform(1.4, 2.5))


def _mix(
    bank: Bank,
    scheduled: list[_Scheduled],
    lead: float,
    stop: float,
    speed: float,
    rng: np.random.Generator,
) -> Floats:
    mixed = np.zeros(int((stop - lead) * AUDIO_SAMPLE_RATE), np.float32)
    level = rng.uniform(0.3, 1.2)
    for item in scheduled:
        audio = bank.samples[item.entry.first : item.entry.stop].astype(np.float32) / 32767
        if speed != 1.0:  # also moves the formants: more voices than espeak-ng has
            times = np.arange(int(len(audio) / speed)) * speed
            audio = np.interp(times, np.arange(len(audio)), audio).astype(np.float32)
        begin = int((item.start - lead) * AUDIO_SAMPLE_RATE)
        first, last = max(0, -begin), min(len(audio), len(mixed) - begin)
        if last > first:
            loudness = np.float32(level * rng.uniform(0.85, 1.15))
            mixed[begin + first : begin + last] += loudness * audio[first:last]
    return mixed


def _inside(item: _Scheduled, lead: float, stop: float, speed: float) -> tuple[SpokenWord, ...]:
    """Return the sentence's words whose middle is in the window, in the window's time."""
    offset, limit = (item.start - lead) * 1000, (stop - lead) * 1000
    words = []
    for word in item.entry.words:
        start, end = offset + word.start_ms / speed, offset + word.end_ms / speed
        if 0 < (start + end) / 2 < limit:
            bounds = round(max(0.0, start)), round(min(limit, end))
            words.append(replace(word, start_ms=bounds[0], end_ms=bounds[1]))
    return tuple(words)


def _soil(samples: Floats, rng: np.random.Generator) -> Floats:
    """Add two early echoes, a tilt of the spectrum and noise, each only sometimes."""
    if rng.random() < 0.25:
        delay, dry = int(rng.uniform(0.01, 0.04) * AUDIO_SAMPLE_RATE), samples
        samples = dry.copy()
        for lag, gain in ((delay, rng.uniform(0.1, 0.35)), (2 * delay, rng.uniform(0.05, 0.2))):
            if lag < len(dry):
                samples[lag:] += np.float32(gain) * dry[:-lag]
    if rng.random() < 0.3:
        tilt = np.float32(rng.uniform(-0.3, 0.3))
        samples = np.concatenate([samples[:1], samples[1:] + tilt * samples[:-1]])
    if rng.random() < 0.85:
        spread = np.float32(10 ** rng.uniform(-4.3, -2.3))
        samples = samples + spread * rng.standard_normal(len(samples), dtype=np.float32)
    return samples.astype(np.float32)
