"""The search for poison_items, over real processes that really die."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from storage.errors import CrashError, StageError
from tasks.inference.isolation import Crash, Journal, in_flight, predict_all
from tasks.processes.child_process import run_child

# Takes four items at a time, as an engine its batch, and dies by signal on any of the bad ones.
_ENGINE = """
import os, signal, sys
from pathlib import Path
from tasks.inference.isolation import Journal
journal_path, answers_path, bad, together, items, alone = sys.argv[1:]
bad, together = set(bad.split()), int(together)
with Journal(Path(journal_path)) as journal, open(answers_path, "a", buffering=1) as answers:
    alone = alone.split()
    others = [item for item in items.split() if item not in alone]
    batches = [[item] for item in alone] + [others[n : n + 4] for n in range(0, len(others), 4)]
    for batch in batches:
        for item in batch:
            journal.start(item)
        if bad.intersection(batch) or len(batch) > together:
            os.kill(os.getpid(), signal.SIGSEGV)
        for item in batch:
            print(item, file=answers)
            journal.finish(item)
"""


class Engines:
    """Runs the engine above in a process for each attempt, and keeps what came of it."""

    def __init__(self, folder: Path, bad: str, together: int = 4) -> None:
        self.items = [str(number) for number in range(20)]
        self.folder, self.bad, self.together = folder, bad, together
        self.attempts: list[Sequence[str]] = []
        self.rejected: dict[str, str] = {}

    def answered(self) -> list[str]:
        path = self.folder / "answers"
        return path.read_text().split() if path.exists() else []

    def pending(self) -> list[str]:
        there = {*self.answered(), *self.rejected}
        return [item for item in self.items if item not in there]

    def ask(self, items: Sequence[str], alone: Sequence[str]) -> list[Crash]:
        journal = self.folder / f"journal {len(self.attempts)}"
        self.attempts.append(alone)
        command = [sys.executable, "-c", _ENGINE, str(journal), str(self.folder / "answers")]
        try:
            run_child(
                [*command, self.bad, str(self.together), " ".join(items), " ".join(alone)],
                on_line=lambda line: None,
            )
        except CrashError as error:
            return [Crash(error=error, in_flight=in_flight(journal))]
        return []

    def reject(self, poison_items: Mapping[str, str]) -> None:
        self.rejected |= poison_items

    def run(self) -> None:
        predict_all(self.pending, self.ask, self.reject)


@pytest.mark.parametrize(
    "bad", ["", "0", "19", "5", "5 6", "1 9 17", "4 5 6", "0 1 2 3", "4 5 6 7 8 9"]
)
def test_all_but_those_on_which_the_engine_dies_are_answered(tmp_path: Path, bad: str) -> None:
    engines = Engines(tmp_path, bad)
    engines.run()
    assert set(engines.rejected) == set(bad.split())
    assert sorted(engines.answered(), key=int) == [
        item for item in engines.items if item not in bad.split()
    ]
    assert len(engines.answered()) == len(set(engines.answered())), "nothing is asked twice"
    assert all("signal 11" in reason for reason in engines.rejected.values())


def test_one_culprit_costs_two_deaths(tmp_path: Path) -> None:
    engines = Engines(tmp_path, "6")
    engines.run()
    assert engines.attempts == [(), ["4", "5", "6", "7"], ["7"]]


def test_an_engine_that_dies_over_several_at_once_is_no_segment_s_fault(tmp_path: Path) -> None:
    engines = Engines(tmp_path, "", together=1)
    with pytest.raises(StageError, match=r"predicts alone: lower resources\.infer\.max_requests"):
        engines.run()
    assert not engines.rejected
    assert len(engines.answered()) == 16


def test_an_engine_that_dies_on_everything_has_no_segment_rejected(tmp_path: Path) -> None:
    engines = Engines(tmp_path, " ".join(map(str, range(20))))
    with pytest.raises(StageError, match="died 5 times in a row without a single prediction"):
        engines.run()
    assert not engines.rejected


def test_an_engine_that_dies_before_it_is_at_work_ends_the_run(tmp_path: Path) -> None:
    died = Crash(error=CrashError("killed while opening"), in_flight=())
    with pytest.raises(CrashError, match="killed while opening"):
        predict_all(lambda: ["1"], lambda items, alone: [died], lambda poison_items: None)


def test_one_dead_segment_of_one_is_rejected(tmp_path: Path) -> None:
    engines = Engines(tmp_path, "3")
    engines.items = ["3"]
    engines.run()
    assert set(engines.rejected) == {"3"}


def test_a_journal_tells_what_was_begun_and_not_ended(tmp_path: Path) -> None:
    odd = 'a "name"\nof two lines — ünd more.mp4#0000'
    with Journal(tmp_path / "journal") as journal:
        journal.start("first")
        journal.start(odd)
        assert in_flight(tmp_path / "journal") == ("first", odd)
        journal.finish("first")
    assert in_flight(tmp_path / "journal") == (odd,)
    assert in_flight(tmp_path / "none") == ()


def test_a_line_that_a_full_disk_cut_short_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text(
        '["started", "a"]\n["started", "b"]\n["finished", "a"]\n["fin'
    )
    assert in_flight(tmp_path / "journal") == ("b",)
