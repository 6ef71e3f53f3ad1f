import io

import pytest
from rich.console import Console

from storage.issues import IssueKind
from storage.records import VideoId
from storage.results import AuditRecord
from tasks.audit.counts import count_videos
from tasks.audit.findings import Finding, summarise
from tasks.audit.table import audit_table
from tests.builders import a_video

LONG = "Videos/90001/Visite_1/90001_Question_5_2024-08-31 16-16-24_Video.mp4"
VIDEOS = [
    a_video(name, split=split, label=label, question=2, participant_id="p",
            consent_challenges=False)
    for name, split, label in (("a", "train", 1), ("b", "train", 0), ("c", "test", None))
]  # fmt: skip
COUNTS = list(count_videos(VIDEOS, {VideoId("a"): 5_400_000, VideoId("c"): 360_000}))


def shown(*records: AuditRecord, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(
        audit_table("toy [world]", [*COUNTS, *records]), crop=False
    )
    lines = stream.getvalue().splitlines()
    assert max(len(line) for line in lines if "Videos/" not in line) <= width
    return stream.getvalue()


def line_of(text: str, name: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.strip().startswith(name))
    return line.replace(name, "").split()


def test_every_split_has_a_column_and_the_whole_the_last():
    text = shown()
    assert "The data set toy [world]" in text
    assert line_of(text, "videos  ") == ["2", "1", "3"]
    assert line_of(text, "hours") == ["1.50", "0.100", "1.60"]
    assert line_of(text, "A/H share of labelled videos") == ["50.0", "%", "—", "50.0", "%"]
    assert line_of(text, "question 2") == ["2", "1", "3"]
    assert line_of(text, "use in challenges") == ["0/2/0", "0/1/0", "0/3/0"]


def test_rows_of_what_is_unknown_are_shown_only_where_there_is_any():
    assert "of unknown participants" not in shown()
    stranger = count_videos([a_video("x")], {})
    stream = io.StringIO()
    Console(file=stream, width=80).print(audit_table("toy", list(stranger)))
    assert line_of(stream.getvalue(), "of unknown participants") == ["1", "1"]
    assert line_of(stream.getvalue(), "other or unknown") == ["1", "1"]


@pytest.mark.parametrize("width", [80, 120])
def test_findings_are_shown_with_mark_number_and_examples_in_one_piece(width):
    kinds = (IssueKind.VIDEO_IN_TWO_SPLITS, IssueKind.LENGTHS_DIFFER)
    text = shown(*summarise(Finding(kind=kind, example=LONG) for kind in kinds), width=width)
    assert "✗     1 video_in_two_splits: one video is listed in two splits" in text
    assert "·     1 lengths_differ: " in text
    assert text.count(LONG) == 2
    assert "1 kind of fault makes results untrustworthy: see ✗ above." in text


def test_a_name_that_is_wider_than_the_screen_stands_in_one_line_to_be_copied():
    name = LONG.replace("_Video", "_Video-DESKTOP-ABCDEFG-of-another-computer")
    found = Finding(kind=IssueKind.SAME_FILE_TWICE, example=f"{name} (train) + {LONG} (train)")
    lines = shown(*summarise([found])).splitlines()
    assert f"    {name} (train) +" in lines
    assert f"    {LONG} (train)" in lines


def test_videos_of_one_example_stand_below_each_other():
    kind = IssueKind.SAME_FILE_TWICE
    lines = shown(*summarise([Finding(kind=kind, example="a (train) + [b] (train)")])).splitlines()
    location = next(n for n, line in enumerate(lines) if line.strip() == "a (train) +")
    assert lines[location + 1].strip() == "[b] (train)"


def test_a_data_set_without_fault_is_called_so_and_what_was_not_looked_at_is_said():
    unseen = AuditRecord(
        subject="not looked at", split=None, name="reencoded", value=None, invalidates=False,
        meaning="copies in another encoding", examples=(),
    )  # fmt: skip
    text = shown(unseen)
    assert "Nothing found that makes results untrustworthy." in text
    assert "Not looked at: copies in another encoding" in text
    assert "Found in it" not in text
