"""Read a data set in the BAH layout: videos, labels, intervals, splits, questions and consent.

`parse_release` reads the files, `interpret` combines them. Problems of one video are among its
`issues`, problems of the release, or of a video without a file, among the data set's. No issue
quotes a transcript or a participant's details.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.datasets.bah.annotation import Annotation
from storage.datasets.bah.annotation_cache import AnnotationCache, read_annotation_file
from storage.datasets.bah.names import participant_of, question_of, release_key
from storage.datasets.bah.participants import PARTICIPANTS_FILE, Participants
from storage.datasets.bah.splits import SPLIT_FOLDER, SplitRow, join_rows, read_splits
from storage.datasets.bah.yaml_files import parse_yaml, read_text
from storage.datasets.dataset import Dataset
from storage.datasets.spellings import files_spelled_twice
from storage.errors import DataError
from storage.identity import quote_spelling
from storage.issues import Issue, IssueKind
from storage.paths import iter_video_names, reason_not_found, resolve_inside
from storage.records import SPLITS, VideoId, VideoRecord

ANNOTATION_FILE = "video_annotation_transcript.yaml"
_NO_SOURCE_VIDEOS = frozenset({"cropped-aligned-faces", "transcription", SPLIT_FOLDER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release's parsed files; `video_names` are the existing video files."""

    annotation: Mapping[str, Annotation]
    participants: Mapping[str, Any]
    split_rows: tuple[SplitRow, ...]
    video_names: tuple[str, ...]
    issues: tuple[Issue, ...] = ()


@dataclass(slots=True)
class _Known:
    """What is known about one video from all files of a release; `name` is the first spelling.

    `paths` are its files: several, if the names of files are spellings of one name.
    """

    name: str
    paths: list[str] = field(default_factory=list)
    annotation: Annotation | None = None
    split_row: SplitRow | None = None
    issues: list[Issue] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The file that is used: the one with the name of the annotation, or the first."""
        return self.name if self.name in self.paths else self.paths[0]


def is_bah(root: Path) -> bool:
    """Return whether a folder contains a release's annotation or split files."""
    splits = (root / SPLIT_FOLDER / f"{split}.txt" for split in SPLITS)
    return (root / ANNOTATION_FILE).is_file() or any(path.is_file() for path in splits)


def read_bah(root: Path, cache: AnnotationCache | None = None) -> Dataset:
    """Read the release at `root`; every video with a file becomes a record.

    Raises:
        DataError: a file of the release cannot be read or parsed.
    """
    return interpret(root, parse_release(root, cache))


def parse_release(root: Path, cache: AnnotationCache | None = None) -> Release:
    """Parse the files of a release; the large annotation takes most of the time."""
    issues: list[Issue] = []
    annotation: Mapping[str, Annotation] = {}
    if _exists(root, ANNOTATION_FILE, issues):
        annotation = read_annotation_file(root / ANNOTATION_FILE, cache)
    participants: Mapping[str, Any] = {}
    if _exists(root, PARTICIPANTS_FILE, issues):
        participants = parse_yaml(PARTICIPANTS_FILE, read_text(root / PARTICIPANTS_FILE))
    split_rows, faults = read_splits(root)
    return Release(
        annotation=annotation,
        participants=participants,
        split_rows=split_rows,
        video_names=tuple(iter_video_names(root, skipping=_NO_SOURCE_VIDEOS)),
        issues=(*issues, *faults),
    )


def interpret(root: Path, release: Release) -> Dataset:
    """Combine the files of a release into one record per video."""
    issues = list(release.issues)
    participants = Participants(release.participants)
    videos: list[VideoRecord] = []
    for video in _gather(root, release, issues):
        if not video.paths:
            reason = reason_not_found(root, video.name) or "the file is missing"
            message = f"{video.name}: {_source_of(video)}, but {reason}"
            issues.append(Issue(IssueKind.VIDEO_MISSING, message))
            continue
        if len(video.paths) > 1:
            outcome = f"{quote_spelling(video.path)} is used"
            issues.append(files_spelled_twice(root, sorted(video.paths), outcome))
        videos.append(_record(video, release, participants))
    videos.sort(key=lambda video: video.video_id)
    return Dataset(root=root, videos=tuple(videos), issues=tuple(issues))


def _exists(root: Path, name: str, issues: list[Issue]) -> bool:
    if (root / name).is_file():
        return True
    issues.append(Issue(IssueKind.FILE_MISSING, f"{name} is missing"))
    return False


def _gather(root: Path, release: Release, issues: list[Issue]) -> list[_Known]:
    known: dict[str, _Known] = {}
    for name in _safe_names(root, release.annotation, issues):
        video = known.setdefault(release_key(name), _Known(name))
        if video.annotation is not None:
            first, second = video.annotation, release.annotation[name]
            video.issues.append(_second_annotation(name, first, second))
            continue
        video.annotation = release.annotation[name]
    listed = set(_safe_names(root, (row.name for row in release.split_rows), issues))
    for row in release.split_rows:
        if row.name in listed:
            video = known.setdefault(release_key(row.name), _Known(row.name))
            video.split_row = join_rows(video.split_row, row, video.issues)
    for name in _safe_names(root, release.video_names, issues):
        known.setdefault(release_key(name), _Known(name)).paths.append(name)
    return list(known.values())


def _second_annotation(name: str, first: Annotation, second: Annotation) -> Issue:
    """Describe a second annotation of a video, under another spelling of its name."""
    text = f"annotated also as {quote_spelling(name)}"
    if (first.label, first.intervals) == (second.label, second.intervals):
        return Issue(IssueKind.ANNOTATED_TWICE, f"{text}: the first annotation is used")
    message = f"{text}, with another label or other intervals: the video stays unlabeled"
    return Issue(IssueKind.ANNOTATIONS_DIFFER, message)


def _safe_names(root: Path, names: Iterable[str], issues: list[Issue]) -> Iterator[str]:
    """Yield each name once; names that leave the data folder become issues instead."""
    for name in dict.fromkeys(names):
        try:
            resolve_inside(root, name)
        except DataError as error:
            issues.append(Issue(IssueKind.PATH_REJECTED, f"skipped: {error}"))
        else:
            yield name


def _source_of(video: _Known) -> str:
    return "annotated" if video.annotation else f"listed in split/{_split_of(video)}.txt"


def _split_of(video: _Known) -> str | None:
    return None if video.split_row is None else video.split_row.split


def _record(video: _Known, release: Release, participants: Participants) -> VideoRecord:
    path, issues = video.path, list(video.issues)
    annotation = video.annotation
    if annotation is None and release.annotation:
        issues.append(Issue(IssueKind.NOT_ANNOTATED, "the file has no annotation"))
    if video.split_row is None and release.split_rows:
        issues.append(Issue(IssueKind.NOT_IN_SPLIT, "in no split file"))
    participant_id = participant_of(path, issues)
    consent = participants.details_of(participant_id, issues)
    return VideoRecord(
        video_id=VideoId(video.name),
        path=path,
        participant_id=participant_id,
        split=_split_of(video),
        question=question_of(path, issues),
        label=_label_of(video, annotation, issues),
        intervals=() if annotation is None else annotation.intervals,
        consent_publications=consent.answer("Use in publications", issues),
        consent_challenges=consent.answer("Use in challenges", issues),
        issues=(*issues, *(annotation.issues if annotation else ())),
    )


def _label_of(video: _Known, annotation: Annotation | None, issues: list[Issue]) -> int | None:
    listed = None if video.split_row is None else video.split_row.label
    if annotation is None or annotation.label is None:
        return listed
    if listed is not None and listed != annotation.label:
        message = f"annotated with the label {annotation.label}, listed in its split with {listed}"
        issues.append(
            Issue(IssueKind.SPLIT_CONTRADICTS_ANNOTATION, f"{message}: the video stays unlabeled")
        )
    return annotation.label
