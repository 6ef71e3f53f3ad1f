import pytest

from storage.issues import Issue, IssueKind
from storage.records import Interval, SampleRecord, VideoRecord
from tasks.labels.annotation import locate
from tasks.labels.label_issues import issues_of_labels
from tasks.labels.label_rule import LabelRule
from tests.builders import a_sample, a_video

RULE = LabelRule()
SHORT = (Interval(start_ms=4_500, end_ms=5_500),)
LOST = (Issue(IssueKind.INTERVAL_UNREADABLE, "lost"), Issue(IssueKind.NO_QUESTION, "none"))


def samples(*labels: int | None) -> list[SampleRecord]:
    return [a_sample(index=n, label=label) for n, label in enumerate(labels)]


def found(video: VideoRecord, rows: list[SampleRecord], rule=RULE) -> list[Issue]:
    return list(issues_of_labels(video, locate(video, 12_000), rows, rule))


@pytest.mark.parametrize("num_unlabeled", [1, 2, 3])
def test_unlabeled_segments_are_counted_with_the_kinds_of_loss(num_unlabeled):
    rows = samples(*[None] * num_unlabeled, *[1] * (3 - num_unlabeled))
    issue = found(a_video(label=1, issues=LOST), rows)[0]
    assert issue.kind is IssueKind.SEGMENTS_UNLABELED
    assert issue.detail == (
        f"{num_unlabeled} of 3 segments stay unlabeled, as annotation was lost or contradicts "
        "itself (interval_unreadable)"
    )


def test_segments_that_were_never_annotated_are_no_issue():
    for video in (a_video(), a_video(label=1), a_video(negative_intervals=SHORT)):
        assert found(video, samples(None, None, None)) == []


def test_a_video_whose_intervals_make_no_segment_positive_is_an_issue():
    video = a_video(label=1, intervals=SHORT)
    rows = [a_sample(label=0), a_sample(index=1, label=0, overlap_ms=1_000, overlap_fraction=0.25)]
    (issue,) = found(video, rows, LabelRule(positive_at=0.3))
    assert issue == Issue(
        IssueKind.NO_POSITIVE_SEGMENT,
        "no segment is positive: intervals of A/H cover at most 1000 ms (25%) of one, less than "
        "manifest.positive_at = 0.3 (fraction)",
    )
    assert found(video, [*rows, a_sample(index=2, label=1)]) == []
    assert found(a_video(label=0), rows) == []
