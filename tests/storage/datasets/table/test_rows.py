import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.datasets.table.rows import TableRow, iter_rows
from storage.datasets.table.schema_errors import SchemaErrors
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
    errors = SchemaErrors()
    rows = list(iter_rows(path, errors))
    errors.raise_if_any()
    return rows


def _fault(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        _rows(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_have_the_number_of_their_first_line(tmp_path):
    text = '\nvideo, label\na.mp4,1\n\n"b\n.mp4",0\n"c, d.mp4",\n'
    assert _read(_csv(tmp_path, text)) == [
        ("labels.csv, line 3", {"video": "a.mp4", "label": "1"}),
        ("labels.csv, line 5", {"video": "b\n.mp4", "label": "0"}),
        ("labels.csv, line 7", {"video": "c, d.mp4", "label": ""}),
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_not_part_of_a_cell(tmp_path):
    rows = _read(_csv(tmp_path, b"\xef\xbb\xbfvideo,label\r\na.mp4,1\r\n"))
    assert rows == [("labels.csv, line 2", {"video": "a.mp4", "label": "1"})]


EXPECTED = [
    ("{}, line 2", {"video": "a, b.mp4", "label": "1", "split": ""}),
    ("{}, line 3", {"video": "c;d.mp4", "label": "0", "split": "val"}),
]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
def test_columns_are_separated_as_the_line_of_their_names_shows(tmp_path, name, separator):
    text = 'video,label,split\n"a, b.mp4",1,\n"c;d.mp4",0,val\n'
    path = tmp_path / name
    with path.open("w", newline="") as stream:
        rows = csv.reader(io.StringIO(text))
        csv.writer(stream, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
    assert _read(path) == [(location.format(name), cells) for location, cells in EXPECTED]
    assert {row.separator for row in _rows(path)} == {separator}


def test_a_spreadsheets_line_about_its_separator_is_no_row(tmp_path):
    path = _csv(tmp_path, "sep=;\nvideo;label\na.mp4;1\n")
    assert _read(path) == [("labels.csv, line 3", {"video": "a.mp4", "label": "1"})]


def test_names_of_columns_are_known_in_any_case_and_with_any_blanks(tmp_path):
    path = _csv(tmp_path, "Video,\u00a0LABEL\u200b\na.mp4,1\n")
    assert _read(path) == [("labels.csv, line 2", {"video": "a.mp4", "label": "1"})]


def test_a_wrong_number_of_cells_is_reported_with_the_files_separator(tmp_path):
    message = _fault(_csv(tmp_path, "video;label\na;b.mp4;1\n"))
    assert "line 2: 3 cells for 2 columns: quote cells that contain a semicolon" in message


@pytest.mark.parametrize("missing", ["video", "label"])
def test_a_missing_column_is_named_with_what_is_expected(tmp_path, missing):
    header = {"video": "label,split", "label": "video,split"}[missing]
    message = _fault(_csv(tmp_path, f"{header}\n"))
    assert f"line 1: missing column {missing!r}; expected video, label and" in message


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_table_is_missing_its_columns(tmp_path, text):
    assert "missing column 'video'" in _fault(_csv(tmp_path, text))


def test_an_unknown_column_is_named_with_the_known_ones(tmp_path):
    message = _fault(_csv(tmp_path, "video,label,patient\n"))
    assert "unknown column 'patient'" in message
    assert "participant, split, start_ms" in message


def test_a_duplicate_column_is_named(tmp_path):
    assert "duplicate column 'label'" in _fault(_csv(tmp_path, "video,label,label\n"))


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4,1,0", "a, b.mp4,1,0"])
def test_a_line_with_a_wrong_number_of_cells_is_named(tmp_path, line):
    message = _fault(_csv(tmp_path, f"video,label\nb.mp4,1\n{line}\n"))
    assert f"line 3: {line.count(',') + 1} cells for 2 columns: quote cells" in message


def test_an_unclosed_quote_is_reported_with_its_line(tmp_path):
    message = _fault(_csv(tmp_path, 'video,label\n"a.mp4,1'))
    assert "labels.csv, line 2: invalid CSV" in message
    assert "close every quote" in message


def test_an_unclosed_quote_in_a_large_table_is_reported_with_a_remedy(tmp_path):
    message = _fault(_csv(tmp_path, 'video,label\n"a.mp4,1\n' + "b.mp4,1\n" * 20_000))
    assert "labels.csv, line 2: invalid CSV (field larger" in message
    assert "close every quote" in message


def test_a_first_line_that_is_no_header_is_reported(tmp_path):
    message = _fault(_csv(tmp_path, "a.mp4,1\nb.mp4,0\n"))
    assert "labels.csv, line 1: the first line names no known column" in message


def test_all_errors_of_a_header_are_reported_together(tmp_path):
    with pytest.raises(DataError) as caught:
        _rows(_csv(tmp_path, "video,labels,patient\n"))
    assert [line.split(";")[0] for line in caught.value.details] == [
        "labels.csv, line 1: unknown column 'labels'",
        "labels.csv, line 1: unknown column 'patient'",
        "labels.csv, line 1: missing column 'label'",
    ]


def test_a_table_without_rows_is_reported(tmp_path):
    assert "'labels.csv' has no row" in _fault(_csv(tmp_path, "video,label\n"))
    assert "'labels.parquet' has no row" in _fault(_parquet(tmp_path, video=[], label=[]))


@pytest.mark.parametrize("content", [b"\xff\xfev\x00i\x00", "vidéo,label\n".encode("latin-1")])
def test_an_encoding_other_than_utf8_is_reported_with_a_remedy(tmp_path, content):
    assert "'labels.csv' is not UTF-8" in _fault(_csv(tmp_path, content))


def test_typed_columns_are_read_like_text(tmp_path):
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


def test_a_parquet_file_must_have_the_same_columns(tmp_path):
    message = _fault(_parquet(tmp_path, video=["a.mp4"]))
    assert "labels.parquet: missing column 'label'" in message


def test_a_cell_that_is_neither_text_nor_number_is_named_by_its_row(tmp_path):
    message = _fault(_parquet(tmp_path, video=["a.mp4", "b.mp4"], label=[None, [1]]))
    assert "labels.parquet, row 2: unexpected list" in message


def test_a_file_that_is_no_parquet_is_rejected(tmp_path):
    path = tmp_path / "labels.parquet"
    path.write_text("video,label\n")
    assert "'labels.parquet' cannot be read as Parquet" in _fault(path)
