"""Counts of a data set by split: videos, participants, hours, labels, questions, consent."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from storage.datasets.intervals import total_ms
from storage.identity import spellings_by_key
from storage.records import SPLITS, VideoId, VideoRecord
from storage.results import AuditRecord
from tasks.labels.annotation import LocatedAnnotation, locate

Durations = Mapping[VideoId, int]  # milliseconds, of the videos that can be opened
_Measure = Callable[[Sequence[VideoRecord], Durations], float | None]

UNSPLIT = "unsplit"
QUESTIONS = range(1, 8)
_HOUR_MS = 3_600_000


def count_videos(videos: Sequence[VideoRecord], durations: Durations) -> Iterator[AuditRecord]:
    """Yield every measure for each split present, then for the whole data set."""
    for split in (*splits_of(videos), None):
        selected = [v for v in videos if split is None or (v.split or UNSPLIT) == split]
        for name, (meaning, measure) in MEASURES.items():
            yield AuditRecord(
                subject="count",
                split=split,
                name=name,
                value=measure(selected, durations),
                invalidates=False,
                meaning=meaning,
                examples=(),
            )


def splits_of(videos: Iterable[VideoRecord]) -> tuple[str, ...]:
    """Return the splits that have videos, in their usual order."""
    present = {video.split or UNSPLIT for video in videos}
    return tuple(split for split in (*SPLITS, UNSPLIT) if split in present)


def _hours(videos: Sequence[VideoRecord], durations: Durations) -> float:
    return sum(durations.get(video.video_id, 0) for video in videos) / _HOUR_MS


def _located(videos: Sequence[VideoRecord], durations: Durations) -> Iterator[LocatedAnnotation]:
    """Yield the annotation of the videos that can be opened."""
    for video in videos:
        if video.video_id in durations:
            yield locate(video, durations[video.video_id])


def _ah_hours(videos: Sequence[VideoRecord], durations: Durations) -> float:
    """Sum the annotated time within the videos that can be opened."""
    return sum(total_ms(found.intervals) for found in _located(videos, durations)) / _HOUR_MS


def _withheld_hours(videos: Sequence[VideoRecord], durations: Durations) -> float:
    withheld = (found for found in _located(videos, durations) if found.is_withheld)
    return sum(total_ms(found.unknown) for found in withheld) / _HOUR_MS


def _ah_fraction(videos: Sequence[VideoRecord], durations: Durations) -> float | None:
    unknown_ms = sum(total_ms(found.unknown) for found in _located(videos, durations))
    known_ms = sum(durations.get(video.video_id, 0) for video in videos) - unknown_ms
    return _fraction(_ah_hours(videos, durations), known_ms / _HOUR_MS)


def _num_labeled(videos: Sequence[VideoRecord], _: Durations) -> float:
    return sum(video.label is not None for video in videos)


def _num_positive(videos: Sequence[VideoRecord], _: Durations) -> float:
    return sum(video.label == 1 for video in videos)


def _positive_fraction(videos: Sequence[VideoRecord], durations: Durations) -> float | None:
    return _fraction(_num_positive(videos, durations), _num_labeled(videos, durations))


def _fraction(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _num_participants(videos: Sequence[VideoRecord], _: Durations) -> float:
    return len(spellings_by_key(video.participant_id for video in videos))


def _num_where(condition: Callable[[VideoRecord], bool]) -> _Measure:
    return lambda videos, _: sum(condition(video) for video in videos)


def _with_question(question: int) -> _Measure:
    return _num_where(lambda video: video.question == question)


def _with_consent(use: str, permitted: bool | None) -> _Measure:
    return _num_where(lambda video: getattr(video, f"consent_{use}") is permitted)


MEASURES: Mapping[str, tuple[str, _Measure]] = {
    "videos": ("videos", lambda videos, _: len(videos)),
    "participants": ("known participants", _num_participants),
    "participant_unknown": (
        "videos of unknown participants", _num_where(lambda video: video.participant_id is None),
    ),
    "hours": ("hours of the videos that can be opened", _hours),
    "ah_hours": ("hours annotated as A/H", _ah_hours),
    "withheld_hours": (
        "hours without a label, as their annotation was lost or contradicts itself",
        _withheld_hours,
    ),
    "ah_fraction": ("fraction of A/H in the hours that are labeled by time", _ah_fraction),
    "labeled": ("videos with a label", _num_labeled),
    "positive": ("videos labeled A/H", _num_positive),
    "positive_fraction": ("fraction of the labeled videos that is labeled A/H", _positive_fraction),
    **{f"question_{q}": (f"videos that answer question {q}", _with_question(q)) for q in QUESTIONS},
    "question_other": (
        "videos that answer another or an unknown question",
        _num_where(lambda video: video.question not in QUESTIONS),
    ),
    **{
        f"{use}_{answer}": (f"videos whose use in {use} is {meaning}", _with_consent(use, value))
        for use in ("publications", "challenges")
        for answer, meaning, value in (
            ("yes", "permitted", True),
            ("no", "not permitted", False),
            ("unknown", "unknown", None),
        )
    },
}  # fmt: skip
