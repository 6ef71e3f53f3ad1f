import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from storage.store.journal import (
    StageRun,
    host_digest,
    read_runs,
    run_paths,
    surplus_paths,
    write_run,
)
from storage.store.store import Store

RUN = StageRun(
    stage="segment", variant_id="0123456789ab", started_at=1_700_000_000.25, seconds=12.5,
    cpu_seconds=20.0, num_expected=9, num_cached=4, num_computed=5, num_rejected=1,
    num_segments=11, video_ms=50_000, bytes_written=123, num_cpus=2, num_gpus=0,
    host=host_digest(),
)  # fmt: skip


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path) if request.param == "local" else f"memory://{tmp_path}")


def test_records_are_read_as_they_were_written_the_newest_first(store: Store) -> None:
    runs = [replace(RUN, started_at=RUN.started_at + days * 86_400) for days in (2, 0, 1)]
    for run in runs:
        write_run(store, run)
    assert read_runs(store) == [runs[0], runs[2], runs[1]]
    assert read_runs(Store(store.url)) == read_runs(store)


def test_runs_at_the_same_moment_do_not_replace_each_other(store: Store) -> None:
    for _ in range(3):
        write_run(store, RUN)
    assert read_runs(store) == [RUN] * 3


def test_only_the_newest_records_of_each_stage_are_read(store: Store) -> None:
    for stage in ("segment", "infer"):
        for number in range(4):
            write_run(store, replace(RUN, stage=stage, started_at=RUN.started_at + number))
    newest = [(run.stage, run.started_at - RUN.started_at) for run in read_runs(store, per_stage=2)]
    assert sorted(newest) == [("infer", 2), ("infer", 3), ("segment", 2), ("segment", 3)]
    assert len(surplus_paths(store, per_stage=3)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda _: b"",
        lambda _: b"[]",
        lambda _: b"\xff\xfe\x00",
        lambda content: content.replace(b'"seconds": 12.5', b'"seconds": -1'),
        lambda content: content.replace(b'"seconds": 12.5', b'"seconds": NaN'),
        lambda content: content.replace(b'"num_computed": 5', b'"num_computed": "many"'),
        lambda content: content.replace(b'"stage": "segment"', b'"stage": "infer"'),
    ],
)
def test_a_damaged_record_is_skipped_with_a_warning_and_is_surplus(
    damage, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(store, RUN)
    (path,) = run_paths(store)
    with store.open(path) as stream:
        content = stream.read()
    store.write_bytes(path, damage(content))
    write_run(store, replace(RUN, started_at=RUN.started_at + 1))
    with caplog.at_level(logging.WARNING):
        assert [run.started_at for run in read_runs(store)] == [RUN.started_at + 1]
    assert "1 damaged records of the journal" in caplog.text
    assert surplus_paths(store, per_stage=10) == [path]


def test_fields_of_later_versions_and_other_files_are_ignored(store: Store) -> None:
    write_run(store, RUN)
    (path,) = run_paths(store)
    with store.open(path) as stream:
        row = json.loads(stream.read())
    store.write_bytes(path, json.dumps({**row, "later": 1}).encode())
    store.write_bytes("runs/notes.txt", b"mine")
    assert read_runs(store) == [RUN]
    assert surplus_paths(store, per_stage=10) == []


def test_a_store_without_a_journal_has_no_runs(store: Store) -> None:
    assert read_runs(store) == run_paths(store) == []


def test_a_record_names_no_host(store: Store) -> None:
    import socket

    write_run(store, RUN)
    with store.open(run_paths(store)[0]) as stream:
        assert socket.gethostname() not in stream.read().decode()
