"""Find videos with the same course of motion, whatever their audio, size, framing or speed.

A course is made comparable by flattening its spectrum and its envelope: a person's steady swaying
and a common start of all recordings count as little as any other frequency and second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.media.perceptual_hash import MOTION_HASH_RATE

Floats = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]

MIN_SECONDS = 9
MIN_CORRELATION = 0.65
_LOWEST_HZ, _HIGHEST_HZ = 0.1, 2.5
_FALSE_ALARM_LOG10 = -10.0
_MIN_LEVEL = 2  # stored units; less is noise of a static scene

_CUT = 2.0  # times the upper tenth of the levels: the scene changes at once
_UPSAMPLED = 2
_RATE = MOTION_HASH_RATE * _UPSAMPLED
_EDGE = MOTION_HASH_RATE
_ENVELOPE = 4 * _RATE
_PIECES = 3  # of a video; each must agree, so that a common half is not a copy
_MIN_OF_PIECE = 0.7  # of the correlation that the whole must have
_MAX_TRIM = round(0.75 * _RATE)
_SPEEDS = np.round(np.arange(0.85, 1.1801, 0.005), 3)
_SPEED_TOLERANCE = 0.04

_WHOLE_LENGTH = 96
_WHOLE_SHIFTS = range(-2, 3)
_MIN_WHOLE = 0.45
_PROBE = MIN_SECONDS * MOTION_HASH_RATE
_MIN_PROBE = 0.65


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One video's motion levels, and the same flattened, at twice the rate."""

    levels: Levels
    flat: Floats

    @property
    def has_evidence(self) -> bool:
        """Return whether it moves for long enough to be recognized."""
        return int((self.levels >= _MIN_LEVEL).sum()) >= MIN_SECONDS * MOTION_HASH_RATE - 8


def course_of(levels: Levels) -> Course:
    """Flatten a video's motion levels."""
    return Course(levels=levels, flat=_flattened(levels.astype(np.float64)))


def _flattened(levels: Floats) -> Floats:
    """Flatten the spectrum and the envelope of motion levels [samples] -> [2 * samples]."""
    count = len(levels)
    if count < 2 * _EDGE:
        return np.zeros(count * _UPSAMPLED)
    moves = _moves(levels)
    if not moves.any():
        return np.zeros(count * _UPSAMPLED)
    taper = moves.astype(np.float64)
    edge = np.hanning(2 * _EDGE)
    taper[:_EDGE] *= edge[:_EDGE]
    taper[-_EDGE:] *= edge[_EDGE:]
    spectrum = np.fft.rfft((levels - levels[moves].mean()) * taper)
    magnitude = np.abs(spectrum)
    flat = spectrum / (magnitude + 1e-3 * magnitude.max() + 1e-9)
    frequencies = np.fft.rfftfreq(count, 1 / MOTION_HASH_RATE)
    flat[(frequencies < _LOWEST_HZ) | (frequencies > _HIGHEST_HZ)] = 0
    course = np.fft.irfft(flat, count * _UPSAMPLED) * np.repeat(moves, _UPSAMPLED)
    power = _moving_mean(np.square(course), _ENVELOPE)
    return course / np.sqrt(power + 0.1 * power.mean() + 1e-12)


def _moves(levels: Floats) -> npt.NDArray[np.bool_]:
    """Return where a video moves, without stills and cuts: those of an intro are in many videos."""
    still = _moving_mean(levels < _MIN_LEVEL, MOTION_HASH_RATE + 1) > 0.99
    cuts = levels > _CUT * np.quantile(levels, 0.9)
    return (_moving_mean(still, 2 * MOTION_HASH_RATE + 1) == 0) & (
        _moving_mean(cuts, MOTION_HASH_RATE + 1) == 0
    )


def _moving_mean(values: Floats | npt.NDArray[np.bool_], width: int) -> Floats:
    start = (width - 1) // 2
    totals, counts = (
        np.convolve(each, np.ones(width))[start : start + len(values)]
        for each in (values, np.ones(len(values)))
    )
    return totals / counts


def iter_whole_candidates(courses: Sequence[Course]) -> Iterator[tuple[int, int]]:
    """Yield pairs that may be one recording from start to end, at about the same or another speed.

    All courses are stretched to one length, so that one matrix product compares all pairs.
    """
    known = [index for index, course in enumerate(courses) if course.has_evidence]
    if len(known) < 2:
        return
    rows = np.stack([_stretched(courses[index].flat) for index in known])
    shifted = [_normalized(np.roll(rows, shift, axis=1)) for shift in _WHOLE_SHIFTS]
    lengths = np.array([len(courses[index].levels) for index in known])
    rows = _normalized(rows)
    for row, index in enumerate(known[:-1]):
        best = np.max([each[row + 1 :] @ rows[row] for each in shifted], axis=0)
        ratio = lengths[row + 1 :] / lengths[row]
        near = (ratio >= _SPEEDS[0]) & (ratio <= _SPEEDS[-1])
        for other in np.flatnonzero((best >= _MIN_WHOLE) & near):
            yield index, known[row + 1 + int(other)]


def _stretched(flat: Floats) -> npt.NDArray[np.float32]:
    positions = np.linspace(0, len(flat) - 1, _WHOLE_LENGTH * 4)
    samples = np.interp(positions, np.arange(len(flat)), flat)
    return samples.reshape(-1, 4).mean(axis=1).astype(np.float32)


def _normalized(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centered = rows - rows.mean(axis=1, keepdims=True)
    return centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-9)


def iter_part_candidates(
    courses: Sequence[Course], searched: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of which one may be a part of the other, if one of them is in ``searched``."""
    searched_set = set(searched)
    known = [index for index, course in enumerate(courses) if course.has_evidence]
    probes = {index: _probe(courses[index].flat[::_UPSAMPLED]) for index in known}
    for index in known:
        windows = _windows(courses[index].flat[::_UPSAMPLED])
        others = known if index in searched_set else [i for i in known if i in searched_set]
        others = [i for i in others if len(courses[i].levels) <= len(courses[index].levels)]
        others = [i for i in others if i != index]
        if not others or not len(windows):
            continue
        best = (np.stack([probes[other] for other in others]) @ windows.T).max(axis=1)
        for other in np.flatnonzero(best >= _MIN_PROBE):
            yield others[int(other)], index


def _probe(flat: Floats) -> npt.NDArray[np.float32]:
    start = max(0, (len(flat) - _PROBE) // 2)
    probe = flat[start : start + _PROBE].astype(np.float32)
    probe = np.pad(probe, (0, _PROBE - len(probe)))
    return probe / max(float(np.linalg.norm(probe)), 1e-9)


def _windows(flat: Floats) -> npt.NDArray[np.float32]:
    if len(flat) < _PROBE:
        return np.zeros((0, _PROBE), np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(flat.astype(np.float32), _PROBE)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def has_same_course(one: Course, other: Course, margin: float = 0.0) -> bool:
    """Return whether the shorter video's motion is in the other's, at some offset and speed.

    ``margin`` is added to the correlation that is required.
    """
    part, whole = sorted((one, other), key=lambda course: len(course.levels))
    ratio = len(whole.levels) / max(1, len(part.levels))
    speeds = [1.0, *(_SPEEDS[np.abs(_SPEEDS - ratio) <= _SPEED_TOLERANCE])]
    for speed in speeds:
        stretched = part.flat if speed == 1 else _flattened(_at_speed(part.levels, speed))
        if _contains(whole.flat, stretched, margin):
            return True
    return False


def _at_speed(levels: Levels, speed: float) -> Floats:
    positions = np.arange(0, len(levels) - 1, 1 / speed)
    return np.interp(positions, np.arange(len(levels)), levels)


def _contains(whole: Floats, part: Floats, margin: float) -> bool:
    """Correlate at every offset that leaves nearly all of ``part`` inside ``whole``."""
    padded = np.pad(whole, (_MAX_TRIM, max(_MAX_TRIM, len(part) - len(whole) + _MAX_TRIM)))
    products = np.correlate(padded, part, "valid")
    energies = np.convolve(np.square(padded), np.ones(len(part)), "valid")
    correlations = products / np.sqrt(np.maximum(energies, 1e-9) * max(_energy(part), 1e-9))
    best = int(correlations.argmax())
    required = min(0.95, _required(np.count_nonzero(part) / _RATE) + margin)
    if correlations[best] < required:
        return False
    pieces = zip(
        np.array_split(padded[best : best + len(part)], _PIECES),
        np.array_split(part, _PIECES),
        strict=True,
    )
    return all(
        (one * other).sum() >= _MIN_OF_PIECE * required * np.sqrt(_energy(one) * _energy(other))
        for one, other in pieces
    )


def _energy(course: Floats) -> float:
    return float(np.square(course).sum())


def _required(seconds: float) -> float:
    """Return the correlation that unrelated motion of this length practically never reaches.

    Of n independent samples, unrelated courses correlate by r or more with a probability of about
    (1 - r^2) ** ((n - 4) / 2).
    """
    independent = max(5.0, 2 * (_HIGHEST_HZ - _LOWEST_HZ) * seconds)
    by_chance = np.sqrt(1 - 10 ** (2 * _FALSE_ALARM_LOG10 / (independent - 4)))
    return max(MIN_CORRELATION, float(by_chance))
