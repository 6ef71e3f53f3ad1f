"""Problems of a data set: contradictions, leakage, and splits that cannot be used."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from storage.datasets.dataset import Dataset
from storage.identity import participant_key, quote_spelling
from storage.issues import Issue, IssueKind
from storage.media_records import MediaFacts
from storage.records import SPLITS, VideoId, VideoRecord
from storage.results import AuditRecord
from tasks.audit.counts import Durations
from tasks.labels.annotation import locate
from tasks.media.quality import quality_problems

EXAMPLE_SEPARATOR = " + "  # between the videos of one example
# Kinds that mean little without their details; a video has at most one issue of each.
_DETAILED = (
    IssueKind.CUE_KIND_UNKNOWN,
    IssueKind.IMPLAUSIBLE_UNIT,
    IssueKind.NO_INTERVAL_WITHIN,
    IssueKind.VIDEO_SPELLED_TWICE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem; ``example`` names the video, videos, split or file that it is about."""

    kind: IssueKind
    example: str


def summarize(findings: Iterable[Finding]) -> list[AuditRecord]:
    """Count the examples of each kind of problem; kinds that invalidate results come first."""
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
            examples=tuple(examples[kind]),
        )
        for kind in kinds
        if kind in examples
    ]


def reader_issues(dataset: Dataset) -> Iterator[Finding]:
    """Yield the issues that the reader found in the data set and in its videos."""
    for issue in dataset.issues:
        yield Finding(kind=issue.kind, example=issue.detail)
    for video in dataset.videos:
        for issue in video.issues:
            yield Finding(kind=issue.kind, example=_detailed(video, issue))
        if _lacks_participant(video):
            yield Finding(kind=IssueKind.NO_PARTICIPANT, example=video.video_id)


def unreadable_files(faults: Mapping[VideoId, str]) -> Iterator[Finding]:
    """Yield the videos that cannot be opened, with the reason."""
    for video_id, reason in faults.items():
        yield Finding(kind=IssueKind.CANNOT_BE_OPENED, example=f"{video_id}: {reason}")


def failed_checks(errors: Mapping[VideoId, str]) -> Iterator[Finding]:
    """Yield the videos whose check failed with an unforeseen error."""
    for video_id, reason in errors.items():
        yield Finding(kind=IssueKind.CHECK_FAILED, example=f"{video_id}: {reason}")


def misplaced_intervals(videos: Iterable[VideoRecord], durations: Durations) -> Iterator[Finding]:
    """Find intervals that are not within their video, or in an implausible unit."""
    for video in videos:
        if video.video_id in durations:
            for issue in locate(video, durations[video.video_id]).issues:
                yield Finding(kind=issue.kind, example=_detailed(video, issue))


def media_problems(media: Iterable[MediaFacts]) -> Iterator[Finding]:
    """Find decoded videos whose video or audio is largely unusable, and all other warnings."""
    for facts in media:
        problems = quality_problems(facts)
        for problem in problems:
            yield Finding(kind=problem.kind, example=f"{facts.video_id}: {problem.message}")
        reported = {problem.message for problem in problems}
        for warning in facts.warnings:
            if warning not in reported:
                yield Finding(kind=IssueKind.MEDIA, example=f"{facts.video_id}: {warning}")


def participants_in_two_splits(videos: Iterable[VideoRecord]) -> Iterator[Finding]:
    """Find participants with videos in two splits, under any spellings of their ids."""
    for group in _groups(videos, _participant_key):
        if _is_in_two_splits(group):
            kind = IssueKind.PARTICIPANT_IN_TWO_SPLITS
            yield Finding(kind=kind, example=_example_of(group))


def participants_spelled_twice(videos: Iterable[VideoRecord]) -> Iterator[Finding]:
    """Find participants whose ids are spelled in several ways, with a video of each."""
    for group in _groups(videos, _participant_key):
        first_of = {str(video.participant_id): video.video_id for video in reversed(group)}
        if len(first_of) > 1:
            names = (f"{quote_spelling(who)} of {first_of[who]}" for who in sorted(first_of))
            kind = IssueKind.PARTICIPANT_SPELLED_TWICE
            yield Finding(kind=kind, example=EXAMPLE_SEPARATOR.join(names))


def identical_files(
    videos: Iterable[VideoRecord], digests: Mapping[VideoId, str]
) -> Iterator[Finding]:
    """Find videos whose files have the same content."""
    for group in _groups(videos, lambda video: digests.get(video.video_id)):
        in_two_splits = _is_in_two_splits(group)
        kind = IssueKind.SAME_FILE_IN_TWO_SPLITS if in_two_splits else IssueKind.SAME_FILE_TWICE
        yield Finding(kind=kind, example=_example_of(group))
        if len({video.label for video in group} - {None}) > 1:
            kind = IssueKind.SAME_FILE_WITH_TWO_LABELS
            yield Finding(kind=kind, example=_example_of(group))


def reencoded_copies(
    videos: Iterable[VideoRecord], groups: Iterable[Sequence[VideoId]]
) -> Iterator[Finding]:
    """Yield the groups of videos that are re-encodings of one recording."""
    by_id = {video.video_id: video for video in videos}
    for group in ([by_id[video_id] for video_id in group] for group in groups):
        in_two_splits = _is_in_two_splits(group)
        kind = IssueKind.REENCODED_IN_TWO_SPLITS if in_two_splits else IssueKind.REENCODED_TWICE
        yield Finding(kind=kind, example=_example_of(group))


def unusable_splits(videos: Sequence[VideoRecord]) -> Iterator[Finding]:
    """Find splits without videos, without labels, or with a single class."""
    used = {video.split for video in videos} - {None}
    for unused in [split for split in SPLITS if used and split not in used]:
        is_test = unused == "test"
        kind = IssueKind.TEST_WITHOUT_VIDEOS if is_test else IssueKind.SPLIT_WITHOUT_VIDEOS
        yield Finding(kind=kind, example=unused)
    for group in _groups(videos, lambda video: video.split, at_least=1):
        split = str(group[0].split)
        labels = {video.label for video in group} - {None}
        if not labels:
            is_test = split == "test"
            kind = IssueKind.TEST_WITHOUT_LABELS if is_test else IssueKind.SPLIT_WITHOUT_LABELS
            yield Finding(kind=kind, example=split)
        elif len(labels) == 1:
            yield Finding(kind=IssueKind.SPLIT_OF_ONE_LABEL, example=split)


def _detailed(video: VideoRecord, issue: Issue) -> str:
    """Name a video, with the details of an issue whose kind means little without them."""
    return f"{video.video_id}: {issue.detail}" if issue.kind in _DETAILED else video.video_id


def _participant_key(video: VideoRecord) -> str | None:
    return None if video.participant_id is None else participant_key(video.participant_id)


def _lacks_participant(video: VideoRecord) -> bool:
    is_reported = any(issue.kind is IssueKind.NO_PARTICIPANT for issue in video.issues)
    return video.label is not None and video.participant_id is None and not is_reported


def _groups(
    videos: Iterable[VideoRecord],
    key: Callable[[VideoRecord], Hashable],
    at_least: int = 2,
) -> Iterator[list[VideoRecord]]:
    """Group videos by key; videos with the key ``None`` are ignored."""
    groups: dict[Hashable, list[VideoRecord]] = defaultdict(list)
    for video in videos:
        if key(video) is not None:
            groups[key(video)].append(video)
    return (group for group in groups.values() if len(group) >= at_least)


def _is_in_two_splits(group: Iterable[VideoRecord]) -> bool:
    return len({video.split for video in group} - {None}) > 1


def _example_of(group: Sequence[VideoRecord]) -> str:
    """Name all videos of a group, split by split."""
    splits = list(dict.fromkeys(video.split for video in group))
    return EXAMPLE_SEPARATOR.join(
        f"{video.video_id} ({video.split})" if video.split else video.video_id
        for video in sorted(group, key=lambda video: splits.index(video.split))
    )
