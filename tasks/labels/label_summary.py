"""The labels of a whole manifest in numbers, and what about them needs attention."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from storage.issues import IssueKind
from storage.records import IssueRecord, SampleRecord
from tasks.labels.label_rule import FROM_VIDEO

LABEL_GROUPS = ("A/H", "no A/H", "A/H by video", "unlabeled")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """Counts of a manifest's labels.

    Attributes:
        segments: Number of segments by split and group of `LABEL_GROUPS`.
        num_withheld_segments: Segments without a label because annotation was lost or contradicts
            itself, in ``num_withheld_videos`` videos.
        num_annotated_videos: Videos with an interval of A/H within them.
        num_without_positive: Those of which no segment is positive.
    """

    segments: dict[tuple[str, str], int]
    num_withheld_segments: int
    num_withheld_videos: int
    num_annotated_videos: int
    num_without_positive: int

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each group of videos whose labels need attention."""
        if self.num_withheld_segments:
            yield (
                f"{self.num_withheld_segments} segments of {self.num_withheld_videos} videos stay "
                "unlabeled, as their annotation was lost or contradicts itself: see `waver check`"
            )
        if self.num_without_positive:
            yield (
                f"{self.num_without_positive} of {self.num_annotated_videos} positive videos with "
                "intervals have no positive segment: lower manifest.positive_at, or set "
                "manifest.overlap_unit = larger_fraction"
            )

    def rows(self) -> list[dict[str, str | int]]:
        """Return the number of segments by split as rows of a table."""
        splits = dict.fromkeys(split for split, _ in self.segments)
        return [
            {"split": split, **{name: self.segments.get((split, name), 0) for name in LABEL_GROUPS}}
            for split in splits
        ]


def summarize_labels(
    samples: Sequence[SampleRecord], issues: Iterable[IssueRecord]
) -> LabelSummary:
    """Count the labels of all samples; ``issues`` are those of the manifest."""
    withheld = {row.video_id for row in issues if row.kind is IssueKind.SEGMENTS_UNLABELED}
    by_video: dict[str, list[SampleRecord]] = defaultdict(list)
    for sample in samples:
        by_video[sample.video_id].append(sample)
    annotated = [rows for rows in by_video.values() if any(row.overlap_ms for row in rows)]
    return LabelSummary(
        segments=Counter((sample.split or "unsplit", _group_of(sample)) for sample in samples),
        num_withheld_segments=sum(
            sample.label is None for sample in samples if sample.video_id in withheld
        ),
        num_withheld_videos=len(withheld),
        num_annotated_videos=len(annotated),
        num_without_positive=sum(not any(row.label == 1 for row in rows) for rows in annotated),
    )


def _group_of(sample: SampleRecord) -> str:
    if sample.label is None:
        return "unlabeled"
    if sample.label_source == FROM_VIDEO:
        return "A/H by video"
    return "A/H" if sample.label else "no A/H"
