from storage.issues import IssueKind
from storage.records import IssueRecord, SampleRecord, VideoId
from tasks.labels.label_summary import LABEL_GROUPS, summarize_labels
from tests.builders import a_sample


def segments(video_id: str, *labels: int | None, split="train", **fields) -> list[SampleRecord]:
    return [
        a_sample(video_id, n, label=label, split=split, **fields) for n, label in enumerate(labels)
    ]


def issue(video_id: str, kind: IssueKind) -> IssueRecord:
    return IssueRecord(video_id=VideoId(video_id), stage="manifest", kind=kind, issue="text")


SAMPLES = [
    *segments("short", 0, 0, overlap_ms=900), *segments("long", 0, 1, 1, overlap_ms=3_000),
    *segments("negative", 0), *segments("weak", 1, 1, label_source="video", split="val"),
    *segments("lost", None, 1, None, overlap_ms=10), *segments("never", None, split=None),
]  # fmt: skip
ISSUES = [
    issue("lost", IssueKind.SEGMENTS_UNLABELED), issue("lost", IssueKind.INTERVAL_AFTER_END),
    issue("short", IssueKind.NO_POSITIVE_SEGMENT),
]  # fmt: skip


def test_labels_are_counted_by_split():
    summary = summarize_labels(SAMPLES, ISSUES)
    assert summary.rows() == [
        {"split": "train", **dict(zip(LABEL_GROUPS, (3, 4, 0, 2), strict=True))},
        {"split": "val", **dict(zip(LABEL_GROUPS, (0, 0, 2, 0), strict=True))},
        {"split": "unsplit", **dict(zip(LABEL_GROUPS, (0, 0, 0, 1), strict=True))},
    ]


def test_withheld_labels_and_videos_without_a_positive_segment_are_warned_of():
    withheld, without = summarize_labels(SAMPLES, ISSUES).warnings()
    assert withheld.startswith("2 segments of 1 videos stay unlabeled")
    assert without.startswith("1 of 3 positive videos with intervals have no positive segment")


def test_complete_labels_need_no_attention():
    fine = [sample for sample in SAMPLES if sample.video_id in ("long", "negative", "weak")]
    assert list(summarize_labels(fine, ()).warnings()) == []
    assert summarize_labels((), ()).rows() == []
