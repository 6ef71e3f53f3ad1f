import io

import pytest
from rich.console import Console

from storage.issues import IssueKind
from storage.records import VideoId
from storage.results import AuditRecord
from tasks.audit.counts import count_videos
from tasks.audit.findings import Finding, summarize
from tasks.audit.table import audit_table
from tests.builders import a_video

LONG = "Videos/90001/Visite_1/90001_Question_5_2024-08-31 16-16-24_Video.mp4"
VIDEOS = [
    a_video(name, split=split, label=label, question=2, participant_id="p",
            consent_challenges=False)
    for name, split, label in (("a", "train", 1), ("b", "train", 0), ("c", "test", None))
]  # fmt: skip
COUNTS = list(count_videos(VIDEOS, {VideoId("a"): 5_400_000, VideoId("c"): 360_000}))


def rendered(*records: AuditRecord, width: int = 80) -> str:
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


def test_every_split_has_a_column_and_the_total_is_last():
    text = rendered()
    assert "The data set toy [world]" in text
    assert line_of(text, "videos  ") == ["2", "1", "3"]
    assert line_of(text, "hours") == ["1.50", "0.100", "1.60"]
    assert line_of(text, "A/H fraction of labeled videos") == ["50.0", "%", "—", "50.0", "%"]
    assert line_of(text, "question 2") == ["2", "1", "3"]
    assert line_of(text, "use in challenges") == ["0/2/0", "0/1/0", "0/3/0"]


def test_rows_of_unknown_values_are_hidden_if_zero():
    assert "of unknown participants" not in rendered()
    stranger = count_videos([a_video("x")], {})
    stream = io.StringIO()
    Console(file=stream, width=80).print(audit_table("toy", list(stranger)))
    assert line_of(stream.getvalue(), "of unknown participants") == ["1", "1"]
    assert line_of(stream.getvalue(), "other or unknown") == ["1", "1"]


@pytest.mark.parametrize("width", [80, 120])
def test_findings_have_a_mark_a_count_and_unwrapped_examples(width):
    kinds = (IssueKind.VIDEO_IN_TWO_SPLITS, IssueKind.LENGTHS_DIFFER)
    text = rendered(*summarize(Finding(kind=kind, example=LONG) for kind in kinds), width=width)
    assert "✗     1 video_in_two_splits: one video is listed in two splits" in text
    assert "·     1 lengths_differ: " in text
    assert text.count(LONG) == 2
    assert "1 kind of problem makes results untrustworthy: see ✗ above." in text


def test_name_wider_than_the_screen_is_not_wrapped():
    name = LONG.replace("_Video", "_Video-DESKTOP-ABCDEFG-of-another-host")
    found = Finding(kind=IssueKind.SAME_FILE_TWICE, example=f"{name} (train) + {LONG} (train)")
    lines = rendered(*summarize([found])).splitlines()
    assert f"    {name} (train) +" in lines
    assert f"    {LONG} (train)" in lines


def test_videos_of_one_example_are_on_separate_lines():
    kind = IssueKind.SAME_FILE_TWICE
    lines = rendered(
        *summarize([Finding(kind=kind, example="a (train) + [b] (train)")])
    ).splitlines()
    index = next(n for n, line in enumerate(lines) if line.strip() == "a (train) +")
    assert lines[index + 1].strip() == "[b] (train)"


def test_the_screen_shows_a_few_examples_and_how_many_more_the_table_holds():
    kind = IssueKind.CANNOT_BE_OPENED
    records = summarize(Finding(kind=kind, example=f"{n}.mp4: empty") for n in range(25))
    lines = [line.strip() for line in rendered(*records).splitlines()]
    assert [line for line in lines if line.endswith(": empty")] == [
        "0.mp4: empty", "1.mp4: empty", "2.mp4: empty",
    ]  # fmt: skip
    assert "and 22 more: `--out FILE.parquet` writes all of them" in lines
    assert len(records[0].examples) == 25


def test_an_example_of_many_videos_is_cut_on_the_screen():
    example = " + ".join(f"{n}.mp4 (train)" for n in range(30))
    text = rendered(*summarize([Finding(kind=IssueKind.SAME_FILE_TWICE, example=example)]))
    assert "    11.mp4 (train) +\n    18 more\n" in text
    assert "12.mp4" not in text


def test_audit_without_findings_reports_that_and_what_was_not_examined():
    unexamined = AuditRecord(
        subject="not examined", split=None, name="reencoded", value=None, invalidates=False,
        meaning="copies in another encoding", examples=(),
    )  # fmt: skip
    text = rendered(unexamined)
    assert "No problem found that makes results untrustworthy." in text
    assert "Not examined: copies in another encoding" in text
    assert "Findings" not in text
