import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.open import open_dataset, read_dataset
from storage.datasets.table.reader import is_table, read_table
from storage.errors import DataError, LeakageError, WaverError
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

NAMES = ("a.mp4", "b, c.MOV", "day 1/d.mkv")


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "data"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _write(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder


def _videos(folder: Path, text: str) -> dict[str, VideoRecord]:
    return {video.path: video for video in read_table(_write(folder, text)).videos}


def _fault(folder: Path, text: str) -> WaverError:
    with pytest.raises(WaverError) as caught:
        read_table(_write(folder, text))
    assert "\n" not in str(caught.value)
    return caught.value


def test_every_column_is_in_the_record_and_a_video_without_a_row_is_unlabeled(folder):
    text = (
        "video,label,participant,split,start_ms,end_ms,question,consent_publications,"
        "consent_challenges\n"
        "a.mp4,1,007,train,1500,4000,4,yes,no\n"
        '"b, c.MOV",0,8,test,,,7,No,TRUE\n'
    )
    assert read_table(_write(folder, text)).videos == (
        VideoRecord(
            video_id="a.mp4", path="a.mp4", participant_id="007", split="train", question=4,
            label=1, intervals=(Interval(start_ms=1500, end_ms=4000),), consent_publications=True,
            consent_challenges=False,
        ),
        VideoRecord(
            video_id="b, c.MOV", path="b, c.MOV", participant_id="8", split="test", question=7,
            label=0, consent_publications=False, consent_challenges=True,
        ),
        VideoRecord(video_id="day 1/d.mkv", path="day 1/d.mkv"),
    )  # fmt: skip


def test_several_rows_of_a_video_are_several_intervals_and_other_columns_may_be_empty(folder):
    text = (
        "video,label,start_ms,end_ms,participant\n"
        "a.mp4,1,6000,7000,P1\na.mp4,,1000,2500,\n./a.mp4,1,,,P1\n"
    )
    video = _videos(folder, text)["a.mp4"]
    assert video.intervals == (
        Interval(start_ms=1000, end_ms=2500),
        Interval(start_ms=6000, end_ms=7000),
    )
    assert (video.label, video.participant_id) == (1, "P1")
    assert [issue.kind for issue in video.issues] == [IssueKind.INTERVALS_UNSORTED]


def test_integers_written_by_data_frames_are_read(folder):
    video = _videos(folder, "video,label,start_ms,end_ms\na.mp4,1.0,1000.0,2000.0\n")["a.mp4"]
    assert (video.label, video.intervals) == (1, (Interval(start_ms=1000, end_ms=2000),))


@pytest.mark.parametrize("label", ["2", "-1", "yes", "A/H", "0.5", "01x"])
def test_a_label_that_is_neither_0_nor_1_is_named_with_its_line(folder, label):
    message = str(_fault(folder, f"video,label\na.mp4,1\nday 1/d.mkv,{label}\n"))
    assert message.startswith(
        f"labels.csv, line 3: label is {label!r}, expected 1 (A/H), 0 (no A/H)"
    )


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("split", "valid", "train, val, test or an empty cell"),
        ("question", "four", "an integer from 1 to 7 or an empty cell"),
        ("question", "0", "an integer from 1 to 7"),
        ("question", "8", "an integer from 1 to 7"),
        ("consent_publications", "perhaps", "yes, no or an empty cell"),
        ("consent_challenges", "2", "yes, no or an empty cell"),
    ],
)
def test_a_value_that_is_invalid_in_its_column_is_named_with_its_line(
    folder, column, value, expected
):
    message = str(_fault(folder, f"video,label,{column}\na.mp4,1,{value}\n"))
    assert f"labels.csv, line 2: {column} is {value!r}, expected {expected}" in message


@pytest.mark.parametrize("name", ["e.mp4", "day 1\\d.mkv", "A-.MP4"])
def test_a_missing_video_is_named_with_an_example(folder, name):
    message = str(_fault(folder, f"video,label\n{name},1\n"))
    assert f"labels.csv, line 2: there is no video {name!r} in the data folder" in message
    assert "such as 'a.mp4'" in message


@pytest.mark.parametrize("name", ["../a.mp4", "/etc/a.mp4", "day 1/../../a.mp4", "linked.mp4"])
def test_a_path_that_leaves_the_folder_is_an_error_with_its_line(folder, name):
    (folder.parent / "a.mp4").touch()
    (folder / "linked.mp4").symlink_to(folder.parent / "a.mp4")
    message = str(_fault(folder, f"video,label\n{name},1\n"))
    assert message.startswith(f"labels.csv, line 2: The path {name!r}")


def test_an_empty_video_name_is_reported_with_its_line(folder):
    assert str(_fault(folder, "video,label\n,1\n")).startswith("labels.csv, line 2: video is empty")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ("1000,", "start_ms is set, but end_ms is empty"),
        (",1000", "end_ms is set, but start_ms is empty"),
        ("1000,1000", "end_ms is 1000, expected more than start_ms 1000"),
        ("2000,1000", "end_ms is 1000, expected more than start_ms 2000"),
        ("-5,1000", "start_ms is '-5', expected whole milliseconds from 0"),
        ("0,1.5", "end_ms is '1.5', expected whole milliseconds from 0"),
        ("00:00:01.000,00:00:02.000", "start_ms is '00:00:01.000', expected whole milliseconds"),
        ("0,86400001", "end_ms is '86400001', expected milliseconds of a video, at most 86400000"),
        ("1,99999999999999999999", "end_ms is '99999999999999999999', expected whole milliseconds"),
    ],
)
def test_times_that_are_no_interval_are_reported_with_their_line(folder, times, message):
    error = _fault(folder, f"video,label,start_ms,end_ms\na.mp4,1,,\na.mp4,1,{times}\n")
    assert f"labels.csv, line 3: {message}" in str(error)


def test_a_video_in_two_splits_is_an_issue_and_an_error_of_a_run(folder):
    text = "video,label,split\na.mp4,1,train\nday 1/d.mkv,0,val\na.mp4,1,test\n"
    video = _videos(folder, text)["a.mp4"]
    message = "labels.csv, line 4: the split is 'test', but 'train' at labels.csv, line 2"
    assert video.split == "train"
    assert video.issues == (Issue(IssueKind.VIDEO_IN_TWO_SPLITS, f"{message}: the first is used"),)
    with pytest.raises(LeakageError, match=r"two splits \(1 of them\)") as caught:
        open_dataset(str(folder))
    assert caught.value.details == (f"video a.mp4: {message}: the first is used",)


def test_a_video_with_two_labels_has_an_issue_and_stays_unlabeled(folder):
    text = "video,label\na.mp4,1\na.mp4,0\n"
    video = _videos(folder, text)["a.mp4"]
    message = "labels.csv, line 3: the label is 0, but 1 at labels.csv, line 2: the video stays"
    assert video.issues == (Issue(IssueKind.LISTED_WITH_TWO_LABELS, f"{message} unlabeled"),)
    used = {video.path: video for video in read_dataset(str(folder)).videos}["a.mp4"]
    assert (used.label, used.intervals, used.issues) == (None, (), video.issues)


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ("a.mp4,0,,\na.mp4,,1000,2000", (3, 2)), ("a.mp4,1,0,5000\na.mp4,0,,", (2, 3)),
        ("a.mp4,0,0,900\na.mp4,0,,\na.mp4,1,1000,2000", (4, 3)),
    ],
)  # fmt: skip
def test_an_interval_of_a_video_without_ah_is_an_issue_and_the_video_stays_unlabeled(
    folder, rows, lines
):
    (issue,) = _videos(folder, f"video,label,start_ms,end_ms\n{rows}\n")["a.mp4"].issues
    interval, label = (f"labels.csv, line {line}" for line in lines)
    assert issue.kind is IssueKind.NEGATIVE_WITH_INTERVALS
    assert issue.detail.startswith(f"{interval}: an interval of A/H, but {label} labels the video")
    used = {video.path: video for video in read_dataset(str(folder)).videos}["a.mp4"]
    assert (used.label, used.intervals, used.negative_intervals) == (None, (), ())


def test_a_row_with_times_and_the_label_0_is_a_stretch_without_ah(folder):
    rows = "a.mp4,1,0,4000\na.mp4,0,4000,8000\nday 1/d.mkv,0,2000,3000\n"
    videos = _videos(folder, f"video,label,start_ms,end_ms\n{rows}")
    first, second = videos["a.mp4"], videos["day 1/d.mkv"]
    stretch = (Interval(start_ms=4000, end_ms=8000),)
    assert (first.label, first.intervals) == (1, (Interval(start_ms=0, end_ms=4000),))
    assert (first.negative_intervals, first.issues) == (stretch, ())
    assert (second.label, second.intervals) == (None, ())
    assert second.negative_intervals == (Interval(start_ms=2000, end_ms=3000),)
    assert open_dataset(str(folder)).has_labels


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (("1,0,4000", "0,3999,8000"), (3, 2)), (("0,3999,8000", "1,0,4000"), (2, 3)),
        (("1,0,9000", "1,100,200", "0,500,600"), (4, 2)), (("0,0,9000", "1,100,200"), (3, 2)),
        (("0,500,600", "1,100,501", "1,0,90"), (2, 3)), (("1,0,10", "0,0,10"), (3, 2)),
    ],
)  # fmt: skip
def test_stretches_that_overlap_with_different_labels_are_an_error_that_names_both_lines(
    folder, rows, lines
):
    table = "\n".join(f"a.mp4,{row}" for row in rows)
    message = str(_fault(folder, f"video,label,start_ms,end_ms\n{table}\n"))
    assert message.startswith(f"labels.csv, line {lines[0]}: labeled ")
    assert f"but labels.csv, line {lines[1]} labels until" in message


def test_times_without_a_label_beside_a_stretch_without_ah_are_an_error(folder):
    rows = "a.mp4,1,0,100\na.mp4,0,200,300\na.mp4,,400,500\n"
    message = str(_fault(folder, f"video,label,start_ms,end_ms\n{rows}"))
    assert message.startswith("labels.csv, line 4: a row with times has no label, and labels.csv, ")
    assert "line 3 marks a stretch without A/H" in message


@pytest.mark.parametrize("column", ["participant", "question", "consent_publications"])
def test_any_other_contradiction_is_rejected_with_its_values_only_in_the_details(folder, column):
    first, second = {"participant": ("P1", "P2"), "question": (3, 4)}.get(column, (False, True))
    error = _fault(folder, f"video,label,{column}\na.mp4,1,{first}\na.mp4,1,{second}\n")
    assert f"labels.csv, line 3: the {column} differs from that of the same video" in str(error)
    assert "P2" not in str(error)
    assert error.details == (f"{column} {first!r} and {second!r}",)


def test_times_of_a_video_without_a_label_are_rejected_with_their_line(folder):
    error = _fault(folder, "video,label,start_ms,end_ms\na.mp4,,,\na.mp4,,10,20\n")
    assert "labels.csv, line 3: start_ms and end_ms mark A/H, but" in str(error)


def test_all_errors_of_a_table_are_reported_together_the_first_as_the_message(folder):
    error = _fault(
        folder,
        "video,label,split,question,start_ms,end_ms\na.mp4,2,valid,9,5,\n../x.mp4,3,,,,\n"
        "a.mp4\nday 1/d.mkv,,,,5,9\n",
    )
    assert str(error).startswith("labels.csv, line 2: label is '2', expected 1")
    assert str(error).endswith("This is the first of 8 errors in the table: correct all of them.")
    locations = [line.split(":")[0].removeprefix("labels.csv, ") for line in error.details]
    assert locations == ["line 2"] * 4 + ["line 3"] * 2 + ["line 4", "line 5"]
    assert str(error).startswith(error.details[0])


def test_a_participant_with_a_control_character_is_rejected_and_named_only_in_the_details(folder):
    error = _fault(folder, "video,label,participant\na.mp4,1,P\x001\n")
    assert str(error).startswith("labels.csv, line 2: the participant contains a control character")
    assert error.details == (r"participant 'P\x001'",)


def test_a_folder_with_a_label_table_is_read_again_when_it_changes(folder):
    assert not is_table(folder)
    assert not open_dataset(str(folder)).has_labels
    assert is_table(_write(folder, "video,label\na.mp4,1\n"))
    assert [video.label for video in open_dataset(str(folder)).videos] == [1, None, None]
    _write(folder, "video,label\na.mp4,0\nday 1/d.mkv,1\n")
    assert [video.label for video in open_dataset(str(folder)).videos] == [0, None, 1]


def test_a_table_in_other_case_that_is_added_later_is_read(folder):
    assert not open_dataset(str(folder)).has_labels
    (folder / "Labels.CSV").write_text("video,label\na.mp4,1\n")
    assert open_dataset(str(folder)).has_labels


def test_a_release_with_a_label_table_is_rejected(folder):
    (_write(folder, "video,label\n") / "video_annotation_transcript.yaml").touch()
    with pytest.raises(DataError, match=r"both a BAH release's files and a label table"):
        open_dataset(str(folder))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0, 1]),
            st.sampled_from([None, "train", "val", "test"]),
            st.none() | st.text("P1, ;\"'é", min_size=1, max_size=6).map(str.strip),
            st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 9000)), max_size=4),
        ),
        min_size=len(NAMES),
        max_size=len(NAMES),
    )
)
def test_the_records_contain_the_values_of_the_table(tmp_path_factory, facts):
    root = tmp_path_factory.mktemp("data")
    rows, expected = [], {}
    for name, (label, split, participant, found) in zip(NAMES, facts, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
        times = [(start, start + length) for start, length in found if label == 1]
        rows += [(name, label, split, participant, *pair) for pair in times or [(None, None)]]
        covered = {ms for start, end in times for ms in (start, end - 1)}
        expected[name] = (label, split, participant or None, covered)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        columns = ("video", "label", "split", "participant", "start_ms", "end_ms")
        csv.writer(stream).writerows([columns, *rows])
    for video in read_table(root).videos:
        label, split, participant, covered = expected[video.path]
        assert (video.label, video.split, video.participant_id) == (label, split, participant)
        assert all(any(i.start_ms <= ms < i.end_ms for i in video.intervals) for ms in covered)
