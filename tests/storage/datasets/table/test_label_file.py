import pytest

from storage.datasets.open import read_dataset
from storage.datasets.table.label_file import (
    find_label_file,
    ignored_label_files,
    label_file_names,
)
from storage.errors import DataError
from storage.issues import IssueKind

SPREADSHEETS = ("labels.xlsx", "Labels.XLS", "labels.ods", "labels.xlsm", "LABELS.numbers")


@pytest.mark.parametrize(
    "name", ["labels.csv", "labels.tsv", "labels.parquet", "Labels.csv", "LABELS.TSV"]
)
def test_a_label_table_is_found_in_any_case(tmp_path, name):
    assert find_label_file(tmp_path) is None
    (tmp_path / name).write_text("video,label\n")
    assert find_label_file(tmp_path) == tmp_path / name
    assert label_file_names(tmp_path) == (name,)
    assert list(ignored_label_files(tmp_path)) == []


@pytest.mark.parametrize("other", ["labels.tsv", "labels.parquet", "LABELS.csv"])
def test_two_label_tables_are_rejected(tmp_path, other):
    for name in ("labels.csv", other):
        (tmp_path / name).write_text("video,label\n")
    with pytest.raises(DataError, match="contains both") as caught:
        find_label_file(tmp_path)
    assert "labels.csv" in str(caught.value)
    assert other in str(caught.value)


def test_a_folder_with_a_tables_name_is_reported(tmp_path):
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(DataError, match=r"'labels\.csv' in the data folder is not a file"):
        find_label_file(tmp_path)


@pytest.mark.parametrize("name", SPREADSHEETS)
def test_a_spreadsheet_alone_stops_with_what_to_do(tmp_path, name):
    (tmp_path / "a.mp4").touch()
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name!r} in the data folder is a spreadsheet.*CSV UTF-8"):
        read_dataset(str(tmp_path))


@pytest.mark.parametrize("name", [*SPREADSHEETS, "labels.txt", "labels.json", "labels"])
def test_a_file_named_like_a_label_table_is_an_issue_beside_one_that_is_read(tmp_path, name):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "labels.csv").write_text("video,label\na.mp4,1\n")
    (tmp_path / name).touch()
    (issue,) = read_dataset(str(tmp_path)).issues
    assert issue.kind is IssueKind.LABEL_FILE_IGNORED
    assert repr(name) in issue.detail


def test_other_files_are_no_label_tables(tmp_path):
    for name in ("labels.mp4", "my labels.xlsx", ".labels.csv", "~$labels.xlsx"):
        (tmp_path / name).touch()
    (tmp_path / "labels").mkdir()
    assert find_label_file(tmp_path) is None
    assert list(ignored_label_files(tmp_path)) == []
    assert find_label_file(tmp_path / "nowhere") is None
