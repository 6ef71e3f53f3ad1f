"""Count what a data set holds: videos, people, hours, labels, questions and consent, by split."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from storage.records import SPLITS, VideoId, VideoRecord
from storage.results import AuditRecord
from tasks.labels.annotation import locate

Durations = Mapping[VideoId, int]  # milliseconds, of the videos that could be opened
_Measure = Callable[[Sequence[VideoRecord], Durations], float | None]

UNSPLIT = "unsplit"
QUESTIONS = range(1, 8)
_HOUR_MS = 3_600_000


def count_videos(videos: Sequence[VideoRecord], durations: Durations) -> Iterator[AuditRecord]:
    """Give every measure for each split that there is, then for the whole."""
    for split in (*splits_of(videos), None):
        chosen = [v for v in videos if split is None or (v.split or UNSPLIT) == split]
        for name, (meaning, measure) in MEASURES.items():
            yield AuditRecord(
                subject="count",
                split=split,
                name=name,
                value=measure(chosen, durations),
                invalidates=False,
                meaning=meaning,
                examples=(),
            )


def splits_of(videos: Iterable[VideoRecord]) -> tuple[str, ...]:
    """Name the splits that videos stand in, in their usual order."""
    found = {video.split or UNSPLIT for video in videos}
    return tuple(split for split in (*SPLITS, UNSPLIT) if split in found)


def _hours(videos: Sequence[VideoRecord], durations: Durations) -> float:
    return sum(durations.get(video.video_id, 0) for video in videos) / _HOUR_MS


def _ah_hours(videos: Sequence[VideoRecord], durations: Durations) -> float:
    """Add up annotated time that lies within the videos that could be opened."""
    covered = (
        interval.end_ms - interval.start_ms
        for video in videos
        for interval in locate(video, durations.get(video.video_id, 0)).intervals
    )
    return sum(covered) / _HOUR_MS


def _ah_fraction(videos: Sequence[VideoRecord], durations: Durations) -> float | None:
    labelled = [video for video in videos if video.label is not None]
    return _share(_ah_hours(labelled, durations), _hours(labelled, durations))


def _num_labelled(videos: Sequence[VideoRecord], _: Durations) -> float:
    return sum(video.label is not None for video in videos)


def _num_positive(videos: Sequence[VideoRecord], _: Durations) -> float:
    return sum(video.label == 1 for video in videos)


def _positive_fraction(videos: Sequence[VideoRecord], durations: Durations) -> float | None:
    return _share(_num_positive(videos, durations), _num_labelled(videos, durations))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _num_participants(videos: Sequence[VideoRecord], _: Durations) -> float:
    return len({video.participant_id for video in videos} - {None})


def _num_where(is_so: Callable[[VideoRecord], bool]) -> _Measure:
    return lambda videos, _: sum(is_so(video) for video in videos)


def _asked(question: int) -> _Measure:
    return _num_where(lambda video: video.question == question)


def _answered(consent: str, answer: bool | None) -> _Measure:
    return _num_where(lambda video: getattr(video, f"consent_{consent}") is answer)


MEASURES: Mapping[str, tuple[str, _Measure]] = {
    "videos": ("videos", lambda videos, _: len(videos)),
    "participants": ("participants known by id", _num_participants),
    "participant_unknown": (
        "videos of unknown participants", _num_where(lambda video: video.participant_id is None),
    ),
    "hours": ("hours of the videos that can be opened", _hours),
    "ah_hours": ("hours annotated as A/H", _ah_hours),
    "ah_share": ("share of the labelled videos' hours annotated as A/H", _ah_fraction),
    "labelled": ("videos with a label", _num_labelled),
    "positive": ("videos labelled A/H", _num_positive),
    "positive_share": ("share of the labelled videos labelled A/H", _positive_fraction),
    **{f"question_{q}": (f"videos that answer question {q}", _asked(q)) for q in QUESTIONS},
    "question_other": (
        "videos that answer another question, or nobody knows which",
        _num_where(lambda video: video.question not in QUESTIONS),
    ),
    **{
        f"{consent}_{word}": (
            f"videos whose use in {consent} is {message}", _answered(consent, answer),
        )
        for consent in ("publications", "challenges")
        for word, message, answer in (
            ("yes", "consented to", True), ("no", "refused", False), ("unknown", "unknown", None),
        )
    },
}  # fmt: skip
