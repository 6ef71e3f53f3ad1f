"""Interpret a release's transcript of one video; every repair becomes an issue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.datasets.intervals import is_seconds
from storage.issues import Issue, IssueKind

_RESTART_EVERY_MS = 30_000  # the transcriber's window
_ROUNDING_MS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A piece of the released transcript; `end_ms` is `None` if unknown."""

    text: str
    start_ms: int
    end_ms: int | None


def read_phrases(transcript: Any, issues: list[Issue]) -> tuple[Phrase, ...]:
    """Read a transcript's pieces with monotone times; adds to `issues`."""
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
        message = f"transcript has {num_unreadable} pieces without text or start: dropped"
        issues.append(Issue(IssueKind.TRANSCRIPT_UNREADABLE, message))
    repaired, faults = repair_phrases(phrases)
    issues += faults
    return repaired


def repair_phrases(
    phrases: Sequence[Phrase], duration_ms: int | None = None
) -> tuple[tuple[Phrase, ...], tuple[Issue, ...]]:
    """Make phrases' times monotone and, if the duration is known, clip them to the video.

    Times that do not continue after the previous phrase are taken to restart at its end, as
    transcribers process windows of 30 s. A missing end becomes the next phrase's start, or the
    video's end.
    """
    repaired: list[Phrase] = []
    offset_ms = 0
    num_restarts = 0
    for index, phrase in enumerate(phrases):
        if index and not _continues(phrases[index - 1], phrase):
            num_restarts += 1
            offset_ms = _end_so_far(repaired, num_restarts)
        start_ms = max(phrase.start_ms + offset_ms, repaired[-1].start_ms if repaired else 0)
        end_ms = None if phrase.end_ms is None else max(phrase.end_ms + offset_ms, start_ms)
        repaired.append(Phrase(text=phrase.text, start_ms=start_ms, end_ms=end_ms))
    closed = [
        _close(phrase, repaired[i + 1] if i + 1 < len(repaired) else None, duration_ms)
        for i, phrase in enumerate(repaired)
    ]
    issues = []
    if num_restarts:
        message = f"transcript times restart {num_restarts} times: made monotone"
        issues.append(Issue(IssueKind.TRANSCRIPT_RESTARTS, message))
    if num_open := sum(phrase.end_ms is None for phrase in phrases):
        message = f"transcript has {num_open} pieces without an end: closed where possible"
        issues.append(Issue(IssueKind.TRANSCRIPT_OPEN, message))
    return tuple(closed), tuple(issues)


def _continues(previous: Phrase, phrase: Phrase) -> bool:
    """Return whether a phrase starts where the previous one ends, or later.

    Transcribers round, so phrases may overlap a little; one that starts well within the previous
    one, or with it although that takes time or has an open end, is of another window.
    """
    if previous.end_ms is None:
        return phrase.start_ms > previous.start_ms
    if phrase.start_ms >= previous.end_ms:
        return phrase.start_ms >= previous.start_ms
    overlap_ms = previous.end_ms - phrase.start_ms
    return phrase.start_ms > previous.start_ms and overlap_ms <= _ROUNDING_MS


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
    is_number = isinstance(written, int | float) and not isinstance(written, bool)
    return is_number and is_seconds(written)


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
