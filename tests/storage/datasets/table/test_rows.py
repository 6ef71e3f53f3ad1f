from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.datasets.table.rows import TableRow, find_label_file, iter_rows
from storage.datasets.table.schema_errors import TableFaults
from storage.errors import DataError


def _csv(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _parquet(tmp_path: Path, **columns: list) -> Path:
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def _read(path: Path) -> list[tuple[str, dict[str, str]]]:
    return [(row.location, dict(row.cells)) for row in _rows(path)]


def _rows(path: Path) -> list[TableRow]:
    faults = TableFaults()
    rows = list(iter_rows(path, faults))
    faults.refuse()
    return rows


def _fault(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        _rows(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_carry_the_line_that_they_begin_on(tmp_path):
    text = '\nvideo, label\na.mp4,1\n\n"b\n.mp4",0\n"c, d.mp4",\n'
    assert _read(_csv(tmp_path, text)) == [
        ("labels.csv, line 3", {"video": "a.mp4", "label": "1"}),
        ("labels.csv, line 5", {"video": "b\n.mp4", "label": "0"}),
        ("labels.csv, line 7", {"video": "c, d.mp4", "label": ""}),
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_cell(tmp_path):
    rows = _read(_csv(tmp_path, b"\xef\xbb\xbfvideo,label\r\na.mp4,1\r\n"))
    assert rows == [("labels.csv, line 2", {"video": "a.mp4", "label": "1"})]


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "upright lines")]
)
def test_another_separator_than_a_comma_is_named(tmp_path, separator, name):
    text = f"video{separator}label\na.mp4{separator}1\n"
    assert f"line 1: the columns are separated by {name}" in _fault(_csv(tmp_path, text))


@pytest.mark.parametrize("missing", ["video", "label"])
def test_a_missing_column_is_named_with_what_is_expected(tmp_path, missing):
    header = {"video": "label,split", "label": "video,split"}[missing]
    message = _fault(_csv(tmp_path, f"{header}\n"))
    assert f"line 1: there is no column {missing!r}; expected video, label and" in message


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_table_is_missing_its_columns(tmp_path, text):
    assert "there is no column 'video'" in _fault(_csv(tmp_path, text))


def test_an_unknown_column_is_named_with_those_there_may_be(tmp_path):
    message = _fault(_csv(tmp_path, "video,label,patient\n"))
    assert "there is a column 'patient'" in message
    assert "participant, split, start_ms" in message


def test_a_column_that_stands_twice_is_named(tmp_path):
    assert "'label' stands there twice" in _fault(_csv(tmp_path, "video,label,label\n"))


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4,1,0", "a, b.mp4,1,0"])
def test_a_line_with_other_cells_than_columns_is_named(tmp_path, line):
    message = _fault(_csv(tmp_path, f"video,label\nb.mp4,1\n{line}\n"))
    assert "line 3: there are" in message
    assert "for 2 columns: put quotes around" in message


def test_a_quote_that_never_ends_is_told_with_its_line(tmp_path):
    message = _fault(_csv(tmp_path, 'video,label\n"a.mp4,1'))
    assert "labels.csv, line 2: this is not CSV" in message
    assert "close every quotation mark" in message


def test_a_quote_that_swallows_a_large_table_is_told_with_the_way_out(tmp_path):
    message = _fault(_csv(tmp_path, 'video,label\n"a.mp4,1\n' + "b.mp4,1\n" * 20_000))
    assert "labels.csv, line 2: this is not CSV (field larger" in message
    assert "close every quotation mark" in message


def test_a_first_line_that_is_no_header_is_told(tmp_path):
    message = _fault(_csv(tmp_path, "a.mp4,1\nb.mp4,0\n"))
    assert "labels.csv, line 1: this is no header: the first line must name the columns" in message


def test_all_faults_of_a_header_are_told_at_once(tmp_path):
    with pytest.raises(DataError) as caught:
        _rows(_csv(tmp_path, "video,labels,patient\n"))
    assert [line.split(";")[0] for line in caught.value.details] == [
        "labels.csv, line 1: there is a column 'labels'",
        "labels.csv, line 1: there is a column 'patient'",
        "labels.csv, line 1: there is no column 'label'",
    ]


def test_a_table_without_rows_is_told(tmp_path):
    assert "'labels.csv' holds no row" in _fault(_csv(tmp_path, "video,label\n"))
    assert "'labels.parquet' holds no row" in _fault(_parquet(tmp_path, video=[], label=[]))


@pytest.mark.parametrize("name", ["Labels.csv", "labels.CSV", "LABELS.PARQUET"])
def test_a_table_in_another_spelling_is_told_with_the_right_one(tmp_path, name):
    (tmp_path / name).write_text("video,label\n")
    with pytest.raises(DataError, match=f"{name!r} in the data folder is spelled otherwise: .*csv"):
        find_label_file(tmp_path)


def test_a_folder_with_a_tables_name_is_told(tmp_path):
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(DataError, match=r"'labels\.csv' in the data folder is no file"):
        find_label_file(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfev\x00i\x00", "vidéo,label\n".encode("latin-1")])
def test_another_encoding_than_utf8_is_told_with_the_way_out(tmp_path, content):
    assert "'labels.csv' is not UTF-8 text" in _fault(_csv(tmp_path, content))


def test_typed_columns_are_read_like_written_ones(tmp_path):
    path = _parquet(
        tmp_path,
        video=[" a.mp4", "b.mp4"],
        label=[1.0, float("nan")],
        participant=[7, None],
        consent_challenges=[True, False],
    )
    first = {"video": "a.mp4", "label": "1", "participant": "7", "consent_challenges": "1"}
    second = {"video": "b.mp4", "label": "", "participant": "", "consent_challenges": "0"}
    assert _read(path) == [("labels.parquet, row 1", first), ("labels.parquet, row 2", second)]


def test_a_parquet_file_is_held_to_the_same_columns(tmp_path):
    message = _fault(_parquet(tmp_path, video=["a.mp4"]))
    assert "labels.parquet: there is no column 'label'" in message


def test_a_cell_that_is_neither_text_nor_number_is_named_by_its_row(tmp_path):
    message = _fault(_parquet(tmp_path, video=["a.mp4", "b.mp4"], label=[None, [1]]))
    assert "labels.parquet, row 2: there is a list" in message


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "labels.parquet"
    path.write_text("video,label\n")
    assert "'labels.parquet' cannot be read as Parquet" in _fault(path)


def test_two_tables_of_labels_are_refused_and_none_is_none(tmp_path):
    assert find_label_file(tmp_path) is None
    path = _csv(tmp_path, "video,label\n")
    assert find_label_file(tmp_path) == path
    _parquet(tmp_path, video=["a.mp4"], label=[1])
    with pytest.raises(DataError, match=r"both labels\.csv and labels\.parquet: remove one"):
        find_label_file(tmp_path)
