import contextlib
import sqlite3
from pathlib import Path

from flows.server.history_search import DATABASE, count_traces
from storage.erasure.traces import Traces

VIDEO = "Videos/12/Visite_1/12_Question_4_Video.mp4"
TRACES = Traces("12", frozenset({VIDEO}))


def history(folder: Path, *rows: tuple[object, ...]) -> Path:
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as connection:
        connection.execute('CREATE TABLE "artifact" (id INTEGER, data TEXT)')
        connection.execute("CREATE TABLE log (data BLOB)")
        connection.executemany("INSERT INTO artifact VALUES (?, ?)", rows)
        connection.commit()
    return folder


def test_rows_that_name_a_video_are_counted_and_the_history_stays_unchanged(tmp_path: Path) -> None:
    folder = history(tmp_path, (12, f'[{{"row": "{VIDEO}"}}]'), (12, '[{"row": "12"}]'), (1, None))
    before = (folder / DATABASE).read_bytes()
    assert count_traces(folder, TRACES) == 1
    assert count_traces(folder, Traces("13", frozenset())) == 0
    assert (folder / DATABASE).read_bytes() == before


def test_an_unreadable_history_has_no_count(tmp_path: Path) -> None:
    assert count_traces(tmp_path / "nowhere", TRACES) is None
    (tmp_path / DATABASE).write_text("not a database")
    assert count_traces(tmp_path, TRACES) is None
    assert not (tmp_path / "nowhere").exists()
