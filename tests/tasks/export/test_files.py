import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import StoreError
from tasks.export.files import write_export

TABLE = pa.table({"name": ["a, b", "ü\n'x'"], "agreed": [True, None], "p": [0.1, None]})
ROWS = [["name", "agreed", "p"], ["a, b", "yes", "0.1"], ["ü\n'x'", "", ""]]


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def test_tables_are_written_to_one_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "t.CSV"
    assert write_export(path, TABLE.schema, [TABLE, TABLE.slice(0, 0), TABLE], {}) == 4
    assert read_csv(path) == ROWS + ROWS[1:]


def test_tables_are_written_to_one_parquet_file_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert write_export(path, TABLE.schema, iter([TABLE, TABLE]), {"purpose": "internal"}) == 4
    table = pq.read_table(path)
    assert table.to_pylist() == pa.concat_tables([TABLE, TABLE]).to_pylist()
    assert table.schema.metadata[b"waver.purpose"] == b"internal"
    assert pq.ParquetFile(path).num_row_groups == 1


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_failed_export_keeps_the_former_file_and_leaves_no_partial_one(
    tmp_path: Path, name: str
) -> None:
    write_export(tmp_path / name, TABLE.schema, [TABLE], {})
    before = (tmp_path / name).read_bytes()

    def failing_tables() -> Iterator[pa.Table]:
        yield TABLE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_export(tmp_path / name, TABLE.schema, failing_tables(), {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: before}


def test_path_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"^Cannot write .*t\.csv' .*--out\.$"):
        write_export(tmp_path / "file" / "t.csv", TABLE.schema, [TABLE], {})
