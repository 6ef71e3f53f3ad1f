"""Find what is wrong with a data set: contradictions, leakage, and splits that teach nothing."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from storage.datasets.dataset import Dataset
from storage.issues import IssueKind
from storage.records import SPLITS, VideoId, VideoRecord
from storage.results import AuditRecord
from tasks.audit.counts import Durations
from tasks.labels.annotation import locate

BESIDE = " + "  # between the videos of one example
_NUM_EXAMPLES = 3
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_SEEN_IN_TIME = (
    IssueKind.INTERVAL_PAST_END, IssueKind.INTERVAL_AFTER_END, IssueKind.NO_INTERVAL_WITHIN,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found; ``example`` names the video, videos, split or file that it is about."""

    kind: IssueKind
    example: str


def summarise(findings: Iterable[Finding]) -> list[AuditRecord]:
    """Count what each kind was found in, with a few examples: first what invalidates results."""
    examples: dict[IssueKind, dict[str, None]] = defaultdict(dict)
    for finding in findings:
        examples[finding.kind][finding.example] = None
    kinds = sorted(IssueKind, key=lambda kind: not kind.invalidates)
    return [
        AuditRecord(
            subject="finding",
            split=None,
            name=kind.value,
            value=len(examples[kind]),
            invalidates=kind.invalidates,
            meaning=kind.meaning,
            examples=tuple(examples[kind])[:_NUM_EXAMPLES],
        )
        for kind in kinds
        if kind in examples
    ]


def reported_by_reader(dataset: Dataset) -> Iterator[Finding]:
    """Give what the reader of the data set noticed of it and of its videos."""
    for issue in dataset.issues:
        yield Finding(kind=issue.kind, example=issue.detail)
    for video in dataset.videos:
        for issue in video.issues:
            yield Finding(kind=issue.kind, example=video.video_id)
        if _lacks_participant(video):
            yield Finding(kind=IssueKind.NO_PARTICIPANT, example=video.video_id)


def unopened(faults: Mapping[VideoId, str]) -> Iterator[Finding]:
    """Give the videos that cannot be opened, each with the reason."""
    for video_id, reason in faults.items():
        yield Finding(kind=IssueKind.CANNOT_BE_OPENED, example=f"{video_id}: {reason}")


def beyond_the_end(videos: Iterable[VideoRecord], durations: Durations) -> Iterator[Finding]:
    """Find intervals that do not lie within their video."""
    for video in videos:
        if video.video_id in durations:
            for issue in locate(video, durations[video.video_id]).issues:
                if issue.kind in _SEEN_IN_TIME:
                    yield Finding(kind=issue.kind, example=video.video_id)


def divided_participants(videos: Iterable[VideoRecord]) -> Iterator[Finding]:
    """Find participants with videos in two splits."""
    for group in _groups(videos, lambda video: video.participant_id):
        if _is_divided(group):
            kind = IssueKind.PARTICIPANT_IN_TWO_SPLITS
            yield Finding(kind=kind, example=_name_sides(group))


def alike_participants(videos: Iterable[VideoRecord]) -> Iterator[Finding]:
    """Find ids that may be two spellings of one participant, with videos in two splits."""
    for group in _groups(videos, _spelled_alike):
        by_id = {video.participant_id: video for video in group if video.split is not None}
        if len(by_id) > 1 and _is_divided(group):
            kind = IssueKind.PARTICIPANTS_ALIKE_IN_TWO_SPLITS
            yield Finding(kind=kind, example=_name_sides(group))


def same_files(videos: Iterable[VideoRecord], digests: Mapping[VideoId, str]) -> Iterator[Finding]:
    """Find videos whose files have the same content."""
    for group in _groups(videos, lambda video: digests.get(video.video_id)):
        divided = _is_divided(group)
        kind = IssueKind.SAME_FILE_IN_TWO_SPLITS if divided else IssueKind.SAME_FILE_TWICE
        yield Finding(kind=kind, example=_name_sides(group))
        if len({video.label for video in group} - {None}) > 1:
            kind = IssueKind.SAME_FILE_WITH_TWO_LABELS
            yield Finding(kind=kind, example=_name_sides(group))


def reencoded(
    videos: Iterable[VideoRecord], groups: Iterable[Sequence[VideoId]]
) -> Iterator[Finding]:
    """Tell of groups of videos that are one recording, encoded again."""
    by_id = {video.video_id: video for video in videos}
    for group in ([by_id[video_id] for video_id in group] for group in groups):
        divided = _is_divided(group)
        kind = IssueKind.REENCODED_IN_TWO_SPLITS if divided else IssueKind.REENCODED_TWICE
        yield Finding(kind=kind, example=_name_sides(group))


def empty_splits(videos: Sequence[VideoRecord]) -> Iterator[Finding]:
    """Find splits without videos, without labels, or with labels of one kind alone."""
    stood_in = {video.split for video in videos} - {None}
    for side in SPLITS if stood_in else ():
        if side not in stood_in:
            is_test = side == "test"
            kind = IssueKind.TEST_WITHOUT_VIDEOS if is_test else IssueKind.SPLIT_WITHOUT_VIDEOS
            yield Finding(kind=kind, example=side)
    for group in _groups(videos, lambda video: video.split, at_least=1):
        split = str(group[0].split)
        labels = {video.label for video in group} - {None}
        if not labels:
            is_test = split == "test"
            kind = IssueKind.TEST_WITHOUT_LABELS if is_test else IssueKind.SPLIT_WITHOUT_LABELS
            yield Finding(kind=kind, example=split)
        elif len(labels) == 1:
            yield Finding(kind=IssueKind.SPLIT_OF_ONE_LABEL, example=split)


def _spelled_alike(video: VideoRecord) -> str | None:
    """Leave out of an id what people write in one way here and in another there."""
    if video.participant_id is None:
        return None
    return _LEADING_ZEROS.sub("", video.participant_id.casefold())


def _lacks_participant(video: VideoRecord) -> bool:
    is_reported = any(issue.kind is IssueKind.NO_PARTICIPANT for issue in video.issues)
    return video.label is not None and video.participant_id is None and not is_reported


def _groups(
    videos: Iterable[VideoRecord],
    key: Callable[[VideoRecord], Hashable],
    at_least: int = 2,
) -> Iterator[list[VideoRecord]]:
    """Group videos by what is known of them."""
    groups: dict[Hashable, list[VideoRecord]] = defaultdict(list)
    for video in videos:
        if key(video) is not None:
            groups[key(video)].append(video)
    return (group for group in groups.values() if len(group) >= at_least)


def _is_divided(group: Iterable[VideoRecord]) -> bool:
    return len({video.split for video in group} - {None}) > 1


def _name_sides(group: Sequence[VideoRecord]) -> str:
    """Name one video of each split; of videos that stand in one, the first two."""
    by_split = {video.split: video for video in reversed(group)}
    chosen = [video for video in group if by_split[video.split] is video]
    shown = chosen if len(chosen) > 1 else group[:2]
    return BESIDE.join(f"{v.video_id} ({v.split})" if v.split else v.video_id for v in shown)
