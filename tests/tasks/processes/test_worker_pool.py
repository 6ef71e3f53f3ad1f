import os
import signal
from pathlib import Path

import pytest

from storage.errors import StageError
from tasks.processes.worker_pool import Workers, num_workers_for


class Squares:
    """Squares numbers; a process that gets a bad one dies."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad

    def __call__(self, number: int) -> int:
        if number in self.bad:
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number


def workers(make: Squares, num_processes: int = 2) -> Workers[int, int | str]:
    return Workers(make, num_processes, preload=[__name__], on_death=lambda item: f"{item} kills")


class Unwelcome(Squares):
    """What no process can be started with."""

    def __setstate__(self, state: object) -> None:
        raise ImportError("a library is broken")


@pytest.mark.parametrize("bad", [(), (0,), (5, 6), (2, 8, 11)])
def test_all_is_made_in_order_but_that_on_which_a_process_dies(bad: tuple[int, ...]) -> None:
    made = workers(Squares(*bad))
    try:
        expected = [(n, f"{n} kills" if n in bad else n * n) for n in range(12)]
        assert list(made.iter_made(range(12), 4)) == expected
        assert list(made.iter_made([3], 4)) == [(3, 9)]
    finally:
        made.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Squares(*range(1, 12)), "did on 3 in a row, .* none is rejected: .*num_decoders=0"),
        (Unwelcome(), "die before they are at work: .*num_decoders=0"),
    ],
)
def test_processes_that_die_whatever_they_make_are_no_item_s_fault(
    make: Squares, message: str
) -> None:
    made = workers(make)
    results = []
    try:
        with pytest.raises(StageError, match=message):
            results.extend(made.iter_made(range(12), 4))
    finally:
        made.close()
    assert results in ([], [(0, 0)])


def test_no_more_is_begun_in_advance_than_asked_for() -> None:
    drawn: list[int] = []
    made = workers(Squares(), 1)
    try:
        results = made.iter_made((drawn.append(n) or n for n in range(50)), 3)
        assert drawn == [0, 1, 2]  # before the first is asked for
        assert next(results) == (0, 0)
        assert drawn == [0, 1, 2, 3]
    finally:
        made.close()


def test_few_items_are_made_without_processes_and_many_by_as_many_as_there_are_cores() -> None:
    assert num_workers_for(10, 8) == 0
    assert num_workers_for(600, 8) == 2
    assert num_workers_for(10**6, 8) == 8
    assert num_workers_for(10**6, 0) == 0


def test_no_process_is_left_after_the_end() -> None:
    made = workers(Squares(), 1)
    (_, _), process_id = next(iter(made.iter_made([2], 0))), made._executor.submit(os.getpid)
    number = process_id.result()
    made.close()
    assert not Path(f"/proc/{number}").exists()
