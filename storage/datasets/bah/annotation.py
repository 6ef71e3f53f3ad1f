"""Interpret one video's record of a release's annotation file, mending nothing in silence.

What is found here is ANNOTATION: an interval's length, its certainty, its cues and who annotated
leak the label to a model that sees them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.datasets.bah.frame_rate import one_rate_fits
from storage.datasets.bah.transcript import read_phrases
from storage.datasets.intervals import EmptyInterval, parse_interval, tidy_intervals
from storage.issues import Issue, IssueKind
from storage.records import Interval

_TIMES, _FRAMES = "time_detailed_ah", "fr_detailed_ah"
_LARGEST_CERTAINTY, _DEEPEST_CUE = 1 << 31, 6
_BESIDE_TIMES = ("certainty_ah", "all_cues", _FRAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedInterval:
    """One interval as the annotator gave it; cues are (kind, free text) where there is any."""

    interval: Interval
    certainty: int | None
    cues: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a release says about one video.

    `intervals` are in order of time and disjoint; `annotated` keeps each as it was given. Of the
    transcript only its faults are kept, among `issues`: Waver hears for itself.
    """

    label: int | None
    annotator: str | None
    intervals: tuple[Interval, ...]
    annotated: tuple[AnnotatedInterval, ...]
    issues: tuple[Issue, ...]


def read_annotation(record: Any) -> Annotation:
    """Interpret a record; whatever is missing, contradictory or repaired is told in `issues`."""
    if not isinstance(record, Mapping):
        kind = type(record).__name__
        return _nothing_known(f"the annotation is a {kind}, not a mapping: not used")
    issues: list[Issue] = []
    label = _read_label(record.get("global_ah"), issues)
    annotated = _read_intervals(record, issues)
    intervals, repaired = tidy_intervals(entry.interval for entry in annotated)
    issues += repaired
    if label == 1 and not intervals:
        message = "labelled A/H, but no interval says when"
        issues.append(Issue(IssueKind.POSITIVE_WITHOUT_INTERVALS, message))
    if label == 0 and intervals:
        message = f"labelled as without A/H, but has {len(intervals)} A/H intervals"
        issues.append(Issue(IssueKind.NEGATIVE_WITH_INTERVALS, message))
    read_phrases(record.get("transcript"), issues)
    annotator = record.get("annotator_id")
    return Annotation(
        label=label,
        annotator=None if annotator is None else str(annotator),
        intervals=intervals,
        annotated=tuple(annotated),
        issues=tuple(issues),
    )


def _nothing_known(message: str) -> Annotation:
    issues = (Issue(IssueKind.ANNOTATION_UNREADABLE, message),)
    return Annotation(label=None, annotator=None, intervals=(), annotated=(), issues=issues)


def _read_label(written: Any, issues: list[Issue]) -> int | None:
    if written in (0, 1) and isinstance(written, int):
        return int(written)
    message = f"global_ah is {written!r}, expected 0 or 1: the video stays unlabelled"
    issues.append(Issue(IssueKind.LABEL_UNREADABLE, message))
    return None


def _read_list(record: Mapping[str, Any], key: str, issues: list[Issue]) -> list[Any]:
    written = record.get(key)
    if written is None:
        return []
    if isinstance(written, list | tuple):
        return list(written)
    kind = IssueKind.INTERVAL_UNREADABLE if key == _TIMES else IssueKind.FIELD_UNREADABLE
    message = f"{key} is a {type(written).__name__}, expected a list: not used"
    issues.append(Issue(kind, message))
    return []


def _read_intervals(record: Mapping[str, Any], issues: list[Issue]) -> list[AnnotatedInterval]:
    times = _read_list(record, _TIMES, issues)
    beside = {key: _read_list(record, key, issues) for key in _BESIDE_TIMES}
    for key, entries in beside.items():
        if len(entries) != len(times) and (entries or key != _FRAMES):
            message = f"{key} has {len(entries)} entries for {len(times)} intervals"
            issues.append(Issue(IssueKind.LENGTHS_DIFFER, message))
    annotated: list[AnnotatedInterval] = []
    framed: list[tuple[Interval, Any]] = []
    for index, pair in enumerate(times):
        interval = _read_interval(pair, f"interval {index + 1} of {len(times)}", issues)
        if interval is None:
            continue
        certainty, cues, frames = (
            entries[index] if index < len(entries) else None for entries in beside.values()
        )
        annotated.append(
            AnnotatedInterval(
                interval=interval,
                certainty=_read_certainty(certainty),
                cues=_read_cues(cues),
            )
        )
        framed.append((interval, frames))
    if not one_rate_fits(framed):
        message = f"{_FRAMES} fits the times at no frame rate: the times hold"
        issues.append(Issue(IssueKind.FRAMES_DISAGREE, message))
    return annotated


def _read_interval(written: Any, name: str, issues: list[Issue]) -> Interval | None:
    try:
        return parse_interval(written)
    except EmptyInterval as fault:
        issues.append(Issue(IssueKind.INTERVAL_EMPTY, f"{name} rejected: {fault}"))
    except ValueError as fault:
        issues.append(Issue(IssueKind.INTERVAL_UNREADABLE, f"{name} rejected: {fault}"))
    return None


def _read_certainty(written: Any) -> int | None:
    """Take a whole number of any scale, but none that no table can hold."""
    is_plain = type(written) is int and abs(written) < _LARGEST_CERTAINTY
    return written if is_plain else None


def _read_cues(written: Any) -> tuple[tuple[str, str], ...]:
    """Keep whatever an annotator wrote as text: strings, lists and mappings all occur."""
    if written is None:
        return ()
    if not isinstance(written, Mapping):
        return (("unknown", _as_text(written)),)
    return tuple((str(kind), _as_text(cue)) for kind, cue in written.items() if cue is not None)


def _as_text(cue: Any, depth: int = 0) -> str:
    if depth > _DEEPEST_CUE:  # an alias may lead back to where it stands
        return "..."
    if isinstance(cue, Mapping):
        return "; ".join(f"{key}: {_as_text(part, depth + 1)}" for key, part in cue.items())
    if isinstance(cue, list | tuple):
        return "; ".join(_as_text(part, depth + 1) for part in cue)
    return str(cue)
