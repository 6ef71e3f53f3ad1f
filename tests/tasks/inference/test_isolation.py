"""Isolation of poison items, with real processes that die."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from storage.errors import CrashError, StageError
from tasks.inference.isolation import Crash, Journal, in_flight, predict_all
from tasks.processes.child_process import run_child

# Takes batches of four items, and dies by a signal on any of the bad ones.
_ENGINE = """
import os, signal, sys
from pathlib import Path
from tasks.inference.isolation import Journal
journal_path, path, bad, max_batch, items, alone = sys.argv[1:]
bad, max_batch = set(bad.split()), int(max_batch)
with Journal(Path(journal_path)) as journal, open(path, "a", buffering=1) as predictions:
    alone = alone.split()
    others = [item for item in items.split() if item not in alone]
    batches = [[item] for item in alone] + [others[n : n + 4] for n in range(0, len(others), 4)]
    for batch in batches:
        for item in batch:
            journal.start(item)
        if bad.intersection(batch) or len(batch) > max_batch:
            os.kill(os.getpid(), signal.SIGSEGV)
        for item in batch:
            print(item, file=predictions)
            journal.finish(item)
"""


class Engines:
    """Runs the engine above in one process per attempt and records the results."""

    def __init__(self, folder: Path, bad: str, max_batch: int = 4) -> None:
        self.items = [str(number) for number in range(20)]
        self.folder, self.bad, self.max_batch = folder, bad, max_batch
        self.attempts: list[Sequence[str]] = []
        self.rejected: dict[str, str] = {}

    def predicted(self) -> list[str]:
        path = self.folder / "predictions"
        return path.read_text().split() if path.exists() else []

    def pending(self) -> list[str]:
        done = {*self.predicted(), *self.rejected}
        return [item for item in self.items if item not in done]

    def predict(self, items: Sequence[str], alone: Sequence[str]) -> list[Crash]:
        journal = self.folder / f"journal {len(self.attempts)}"
        self.attempts.append(alone)
        command = [sys.executable, "-c", _ENGINE, str(journal), str(self.folder / "predictions")]
        try:
            run_child(
                [*command, self.bad, str(self.max_batch), " ".join(items), " ".join(alone)],
                on_line=lambda line: None,
            )
        except CrashError as error:
            return [Crash(error=error, in_flight=in_flight(journal))]
        return []

    def reject(self, poison_items: Mapping[str, str]) -> None:
        self.rejected |= poison_items

    def run(self) -> None:
        predict_all(self.pending, self.predict, self.reject)


@pytest.mark.parametrize(
    "bad", ["", "0", "19", "5", "5 6", "1 9 17", "4 5 6", "0 1 2 3", "4 5 6 7 8 9"]
)
def test_all_items_but_those_that_crash_the_engine_are_predicted(tmp_path: Path, bad: str) -> None:
    engines = Engines(tmp_path, bad)
    engines.run()
    assert set(engines.rejected) == set(bad.split())
    assert sorted(engines.predicted(), key=int) == [
        item for item in engines.items if item not in bad.split()
    ]
    assert len(engines.predicted()) == len(set(engines.predicted())), "nothing is predicted twice"
    assert all("signal 11" in reason for reason in engines.rejected.values())


def test_one_poison_item_costs_two_crashes(tmp_path: Path) -> None:
    engines = Engines(tmp_path, "6")
    engines.run()
    assert engines.attempts == [(), ["4", "5", "6", "7"], ["7"]]


def test_an_engine_that_dies_on_several_items_at_once_rejects_none(tmp_path: Path) -> None:
    engines = Engines(tmp_path, "", max_batch=1)
    with pytest.raises(StageError, match=r"predicts alone: lower resources\.infer\.max_requests"):
        engines.run()
    assert not engines.rejected
    assert len(engines.predicted()) == 16


def test_an_engine_that_dies_on_every_item_rejects_none(tmp_path: Path) -> None:
    engines = Engines(tmp_path, " ".join(map(str, range(20))))
    with pytest.raises(StageError, match="died 5 times in a row without a single prediction"):
        engines.run()
    assert not engines.rejected


def test_an_engine_that_dies_with_nothing_in_flight_ends_the_run(tmp_path: Path) -> None:
    died = Crash(error=CrashError("killed while opening"), in_flight=())
    with pytest.raises(CrashError, match="killed while opening"):
        predict_all(lambda: ["1"], lambda items, alone: [died], lambda poison_items: None)


def test_a_single_item_that_crashes_the_engine_is_rejected(tmp_path: Path) -> None:
    engines = Engines(tmp_path, "3")
    engines.items = ["3"]
    engines.run()
    assert set(engines.rejected) == {"3"}


def test_a_journal_lists_items_that_were_started_and_not_finished(tmp_path: Path) -> None:
    odd = 'a "name"\nof two lines — ünd more.mp4#0000'
    with Journal(tmp_path / "journal") as journal:
        journal.start("first")
        journal.start(odd)
        assert in_flight(tmp_path / "journal") == ("first", odd)
        journal.finish("first")
    assert in_flight(tmp_path / "journal") == (odd,)
    assert in_flight(tmp_path / "none") == ()


def test_a_truncated_line_of_a_journal_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text(
        '["started", "a"]\n["started", "b"]\n["finished", "a"]\n["fin'
    )
    assert in_flight(tmp_path / "journal") == ("b",)
