"""What a video's labels lack: segments without a label, and intervals that no segment reflects."""

from collections.abc import Iterator, Sequence

from storage.issues import Issue, IssueKind
from storage.records import SampleRecord, VideoRecord
from tasks.labels.annotation import LocatedAnnotation
from tasks.labels.label_rule import LabelRule


def issues_of_labels(
    video: VideoRecord,
    annotation: LocatedAnnotation,
    samples: Sequence[SampleRecord],
    rule: LabelRule,
) -> Iterator[Issue]:
    """Yield an issue for unlabeled segments, and one if no interval makes a segment positive."""
    num_unlabeled = sum(sample.label is None for sample in samples)
    if annotation.is_withheld and num_unlabeled:
        kinds = dict.fromkeys(
            issue.kind.value
            for issue in (*video.issues, *annotation.issues)
            if issue.kind.withholds_labels
        )
        text = f"{num_unlabeled} of {len(samples)} segments stay unlabeled"
        reason = f"annotation was lost or contradicts itself ({', '.join(kinds)})"
        yield Issue(IssueKind.SEGMENTS_UNLABELED, f"{text}, as {reason}")
    if annotation.intervals and not any(sample.label == 1 for sample in samples):
        yield Issue(IssueKind.NO_POSITIVE_SEGMENT, _most_overlap(samples, rule))


def _most_overlap(samples: Sequence[SampleRecord], rule: LabelRule) -> str:
    fraction = max((sample.overlap_fraction for sample in samples), default=0.0)
    longest_ms = max((sample.overlap_ms for sample in samples), default=0)
    bound = f"manifest.positive_at = {rule.positive_at:g} ({rule.overlap_unit})"
    return (
        f"no segment is positive: intervals of A/H cover at most {longest_ms} ms ({fraction:.0%}) "
        f"of one, less than {bound}"
    )
