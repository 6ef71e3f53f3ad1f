"""Interpret one video's record of a release's annotation file, mending nothing in silence.

What is found here is ANNOTATION: an interval's length, its certainty, its cues and who annotated
leak the label to a model that sees them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.intervals import parse_interval, tidy_intervals
from storage.records import Interval

_RESTART_EVERY_MS = 30_000  # the transcriber's window


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedInterval:
    """One interval as the annotator gave it; cues are (kind, free text) where there is any."""

    interval: Interval
    certainty: int | None
    cues: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A piece of the released transcript; `end_ms` is `None` where nobody knows it."""

    text: str
    start_ms: int
    end_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a release says about one video.

    `intervals` are in order of time and disjoint; `annotated` keeps each as it was given.
    """

    label: int | None
    annotator: str | None
    intervals: tuple[Interval, ...]
    annotated: tuple[AnnotatedInterval, ...]
    phrases: tuple[Phrase, ...]
    issues: tuple[str, ...]


def read_annotation(record: Any) -> Annotation:
    """Interpret a record; whatever is missing, contradictory or mended is told in `issues`."""
    if not isinstance(record, Mapping):
        kind = type(record).__name__
        return _nothing_known(f"the annotation is a {kind}, not a mapping: not used")
    issues: list[str] = []
    label = _read_label(record.get("global_ah"), issues)
    annotated = _read_intervals(record, issues)
    intervals, mended = tidy_intervals(entry.interval for entry in annotated)
    issues += mended
    if label == 1 and not intervals:
        issues.append("labelled A/H, but no interval says when")
    if label == 0 and intervals:
        issues.append(f"labelled as without A/H, but has {len(intervals)} A/H intervals")
    phrases = _read_phrases(record.get("transcript"), issues)
    annotator = record.get("annotator_id")
    return Annotation(
        label=label,
        annotator=None if annotator is None else str(annotator),
        intervals=intervals,
        annotated=tuple(annotated),
        phrases=phrases,
        issues=tuple(issues),
    )


def mend_phrases(
    phrases: Sequence[Phrase], duration_ms: int | None = None
) -> tuple[tuple[Phrase, ...], tuple[str, ...]]:
    """Make phrases' times monotone and, where the duration is known, lie within the video.

    Times that fall back are taken to count from the end of what came before (transcribers start
    again about every 30 s); an open end is the next phrase's start, or the end of the video.
    """
    mended: list[Phrase] = []
    offset_ms = 0
    num_restarts = 0
    raw_start_ms = 0
    for phrase in phrases:
        if phrase.start_ms < raw_start_ms:
            num_restarts += 1
            offset_ms = _end_so_far(mended, num_restarts)
        raw_start_ms = phrase.start_ms
        start_ms = max(phrase.start_ms + offset_ms, mended[-1].start_ms if mended else 0)
        end_ms = None if phrase.end_ms is None else max(phrase.end_ms + offset_ms, start_ms)
        mended.append(Phrase(text=phrase.text, start_ms=start_ms, end_ms=end_ms))
    closed = [
        _close(phrase, mended[i + 1] if i + 1 < len(mended) else None, duration_ms)
        for i, phrase in enumerate(mended)
    ]
    issues = []
    if num_restarts:
        issues.append(f"transcript times restart {num_restarts} times: made monotone")
    if num_open := sum(phrase.end_ms is None for phrase in phrases):
        issues.append(f"transcript has {num_open} pieces without an end: closed where possible")
    return tuple(closed), tuple(issues)


def _nothing_known(issue: str) -> Annotation:
    return Annotation(
        label=None, annotator=None, intervals=(), annotated=(), phrases=(), issues=(issue,)
    )


def _read_label(written: Any, issues: list[str]) -> int | None:
    if written in (0, 1) and isinstance(written, int):
        return int(written)
    issues.append(f"global_ah is {written!r}, expected 0 or 1: the video stays unlabelled")
    return None


def _read_list(record: Mapping[str, Any], key: str, issues: list[str]) -> list[Any]:
    written = record.get(key)
    if written is None:
        return []
    if isinstance(written, list | tuple):
        return list(written)
    issues.append(f"{key} is a {type(written).__name__}, expected a list: not used")
    return []


def _read_intervals(record: Mapping[str, Any], issues: list[str]) -> list[AnnotatedInterval]:
    times = _read_list(record, "time_detailed_ah", issues)
    certainties = _read_list(record, "certainty_ah", issues)
    cues = _read_list(record, "all_cues", issues)
    lengths = {"certainty_ah": len(certainties), "all_cues": len(cues)}
    for key, length in lengths.items():
        if length != len(times):
            issues.append(f"{key} has {length} entries for {len(times)} intervals")
    annotated: list[AnnotatedInterval] = []
    for index, pair in enumerate(times):
        try:
            interval = parse_interval(pair)
        except ValueError as fault:
            issues.append(f"interval {index + 1} of {len(times)} rejected: {fault}")
            continue
        certainty = certainties[index] if index < len(certainties) else None
        annotated.append(
            AnnotatedInterval(
                interval=interval,
                certainty=certainty if type(certainty) is int else None,
                cues=_read_cues(cues[index] if index < len(cues) else None),
            )
        )
    return annotated


def _read_cues(written: Any) -> tuple[tuple[str, str], ...]:
    """Keep whatever an annotator wrote as text: strings, lists and mappings all occur."""
    if written is None:
        return ()
    if not isinstance(written, Mapping):
        return (("unknown", _as_text(written)),)
    return tuple((str(kind), _as_text(cue)) for kind, cue in written.items() if cue is not None)


def _as_text(cue: Any) -> str:
    if isinstance(cue, Mapping):
        return "; ".join(f"{key}: {_as_text(part)}" for key, part in cue.items())
    if isinstance(cue, list | tuple):
        return "; ".join(_as_text(part) for part in cue)
    return str(cue)


def _read_phrases(transcript: Any, issues: list[str]) -> tuple[Phrase, ...]:
    pieces = transcript.get("chunks") if isinstance(transcript, Mapping) else None
    if not isinstance(pieces, list | tuple):
        return ()
    phrases: list[Phrase] = []
    num_unreadable = 0
    for piece in pieces:
        phrase = _read_phrase(piece)
        if phrase is None:
            num_unreadable += 1
        else:
            phrases.append(phrase)
    if num_unreadable:
        issues.append(f"transcript has {num_unreadable} pieces without text or start: left out")
    mended, faults = mend_phrases(phrases)
    issues += faults
    return mended


def _read_phrase(piece: Any) -> Phrase | None:
    if not isinstance(piece, Mapping) or not isinstance(piece.get("text"), str):
        return None
    times = piece.get("timestamp")
    if not isinstance(times, list | tuple) or len(times) != 2 or not _is_seconds(times[0]):
        return None
    start_ms = round(times[0] * 1000)
    end_ms = round(times[1] * 1000) if _is_seconds(times[1]) else None
    return Phrase(text=piece["text"].strip(), start_ms=start_ms, end_ms=end_ms)


def _is_seconds(written: Any) -> bool:
    if isinstance(written, bool) or not isinstance(written, int | float):
        return False
    return math.isfinite(written) and written >= 0


def _end_so_far(phrases: Sequence[Phrase], num_restarts: int) -> int:
    last = phrases[-1]
    if last.end_ms is not None:
        return last.end_ms
    return max(last.start_ms, num_restarts * _RESTART_EVERY_MS)


def _close(phrase: Phrase, following: Phrase | None, duration_ms: int | None) -> Phrase:
    end_ms = phrase.end_ms
    if end_ms is None:
        end_ms = following.start_ms if following else duration_ms
    start_ms = phrase.start_ms
    if duration_ms is not None:
        start_ms = min(start_ms, duration_ms)
        end_ms = duration_ms if end_ms is None else min(end_ms, duration_ms)
    return Phrase(text=phrase.text, start_ms=start_ms, end_ms=end_ms)
