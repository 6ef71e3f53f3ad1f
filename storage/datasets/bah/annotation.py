"""Interpret one video's entry in a release's annotation file; every repair becomes an issue.

Everything read here leaks the label to a model that sees it, also an interval's length, certainty,
cues and annotator.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.datasets.bah.frame_rate import one_rate_fits
from storage.datasets.bah.transcript import read_phrases
from storage.datasets.intervals import EmptyInterval, parse_interval, tidy_intervals
from storage.identity import name_key
from storage.issues import Issue, IssueKind
from storage.records import Interval

_TIMES, _FRAMES = "time_detailed_ah", "fr_detailed_ah"
_LARGEST_CERTAINTY, _DEEPEST_CUE = 1 << 31, 6
_CUE_KINDS = ("audio", "body", "facial", "inconsistencies", "language")
_WORD = re.compile(r"\w{1,32}")
_PER_INTERVAL = ("certainty_ah", "all_cues", _FRAMES)
_LOST_INTERVALS = frozenset(
    {IssueKind.INTERVAL_UNREADABLE, IssueKind.INTERVAL_EMPTY, IssueKind.INTERVAL_MISSING}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedInterval:
    """One interval as annotated; cues are (kind, free text) pairs."""

    interval: Interval
    certainty: int | None
    cues: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """The annotation of one video.

    `intervals` are sorted and disjoint; `annotated` are the original ones. Of the transcript only
    its issues are kept, as Waver transcribes videos itself.
    """

    label: int | None
    annotator: str | None
    intervals: tuple[Interval, ...]
    annotated: tuple[AnnotatedInterval, ...]
    issues: tuple[Issue, ...]


def read_annotation(record: Any) -> Annotation:
    """Interpret an entry; `issues` lists what is missing, contradictory or repaired."""
    if not isinstance(record, Mapping):
        kind = type(record).__name__
        return _unreadable(f"the annotation is a {kind}, not a mapping: ignored")
    issues: list[Issue] = []
    label = _read_label(record.get("global_ah"), issues)
    annotated = _read_intervals(record, label, issues)
    intervals, repaired = tidy_intervals(entry.interval for entry in annotated)
    issues += repaired
    _compare_with_label(label, intervals, issues)
    read_phrases(record.get("transcript"), issues)
    annotator = record.get("annotator_id")
    return Annotation(
        label=label,
        annotator=None if annotator is None else str(annotator),
        intervals=intervals,
        annotated=tuple(annotated),
        issues=tuple(issues),
    )


def _compare_with_label(
    label: int | None, intervals: Sequence[Interval], issues: list[Issue]
) -> None:
    """Add an issue if label and intervals, read or lost, do not match."""
    lost = {issue.kind for issue in issues} & _LOST_INTERVALS
    if label == 1 and not intervals and not lost:
        message = "labeled as A/H, but without an interval"
        issues.append(Issue(IssueKind.POSITIVE_WITHOUT_INTERVALS, message))
    if label == 0 and (intervals or lost - {IssueKind.INTERVAL_EMPTY}):
        count = str(len(intervals)) if intervals else "unreadable"
        message = f"labeled as without A/H, but has {count} A/H intervals"
        issues.append(Issue(IssueKind.NEGATIVE_WITH_INTERVALS, message))


def _unreadable(message: str) -> Annotation:
    issues = (Issue(IssueKind.ANNOTATION_UNREADABLE, message),)
    return Annotation(label=None, annotator=None, intervals=(), annotated=(), issues=issues)


def _read_label(value: Any, issues: list[Issue]) -> int | None:
    """Read 0 or 1 of any type, also as quoted text."""
    if isinstance(value, str) and value.strip() in ("0", "1"):
        return int(value)
    if isinstance(value, int | float) and value in (0, 1):
        return int(value)
    message = f"global_ah is {value!r}, expected 0 or 1: ignored"
    issues.append(Issue(IssueKind.LABEL_UNREADABLE, message))
    return None


def _read_list(record: Mapping[str, Any], key: str, issues: list[Issue]) -> list[Any]:
    value = record.get(key)
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    kind = IssueKind.INTERVAL_UNREADABLE if key == _TIMES else IssueKind.FIELD_UNREADABLE
    message = f"{key} is a {type(value).__name__}, expected a list: ignored"
    issues.append(Issue(kind, message))
    return []


def _read_intervals(
    record: Mapping[str, Any], label: int | None, issues: list[Issue]
) -> list[AnnotatedInterval]:
    times = _read_list(record, _TIMES, issues)
    per_interval = {key: _read_list(record, key, issues) for key in _PER_INTERVAL}
    for key, entries in per_interval.items():
        if len(entries) != len(times) and (entries or key != _FRAMES):
            # A negative video may hold fillers; a positive one with more entries lost an interval.
            is_missing = label != 0 and sum(map(_has_content, entries)) > len(times)
            kind = IssueKind.INTERVAL_MISSING if is_missing else IssueKind.LENGTHS_DIFFER
            message = f"{key} has {len(entries)} entries for {len(times)} intervals"
            issues.append(Issue(kind, message))
    annotated: list[AnnotatedInterval] = []
    framed: list[tuple[Interval, Any]] = []
    issues += _unknown_cues(per_interval["all_cues"])
    for index, pair in enumerate(times):
        interval = _read_interval(pair, f"interval {index + 1} of {len(times)}", issues)
        if interval is None:
            continue
        certainty, cues, frames = (
            entries[index] if index < len(entries) else None for entries in per_interval.values()
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
        message = f"{_FRAMES} fits the times at no frame rate: the times are used"
        issues.append(Issue(IssueKind.FRAMES_DISAGREE, message))
    return annotated


def _has_content(entry: Any) -> bool:
    """Return whether an entry of certainty, cues or frames holds anything."""
    if isinstance(entry, Mapping):
        return any(part is not None for part in entry.values())
    return entry not in (None, "", [], ())


def _read_interval(value: Any, name: str, issues: list[Issue]) -> Interval | None:
    try:
        return parse_interval(value)
    except EmptyInterval as fault:
        issues.append(Issue(IssueKind.INTERVAL_EMPTY, f"{name} rejected: {fault}"))
    except ValueError as fault:
        issues.append(Issue(IssueKind.INTERVAL_UNREADABLE, f"{name} rejected: {fault}"))
    return None


def _read_certainty(value: Any) -> int | None:
    """Accept an integer on any scale that fits a table's column."""
    is_plain = type(value) is int and abs(value) < _LARGEST_CERTAINTY
    return value if is_plain else None


def _read_cues(value: Any) -> tuple[tuple[str, str], ...]:
    """Convert cues to text: strings, lists and mappings all occur."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        return (("unknown", _as_text(value)),)
    return tuple((str(kind), _as_text(cue)) for kind, cue in value.items() if cue is not None)


def _unknown_cues(entries: list[Any]) -> Iterator[Issue]:
    """Yield an issue that names the kinds of cues which the data set's layout lacks."""
    kinds = {str(kind) for cues in entries if isinstance(cues, Mapping) for kind in cues}
    unknown = sorted(kind for kind in kinds if name_key(kind) not in _CUE_KINDS)
    if unknown:
        # A name is quoted if it is one word: anything else may be an annotator's text.
        named = [repr(kind) if _WORD.fullmatch(kind) else "an unnamed kind" for kind in unknown]
        message = f"unknown kinds of cues: {', '.join(dict.fromkeys(named))}"
        yield Issue(IssueKind.CUE_KIND_UNKNOWN, f"{message}; expected {', '.join(_CUE_KINDS)}")


def _as_text(cue: Any, depth: int = 0) -> str:
    if depth > _DEEPEST_CUE:  # a YAML alias may refer to its own parent
        return "..."
    if isinstance(cue, Mapping):
        return "; ".join(f"{key}: {_as_text(part, depth + 1)}" for key, part in cue.items())
    if isinstance(cue, list | tuple):
        return "; ".join(_as_text(part, depth + 1) for part in cue)
    return str(cue)
