import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import StageError
from tasks.processes.worker_pool import WorkerPool, num_workers_for
from tests.tasks.alive import is_alive, number_in, wait_until


class Squares:
    """Squares numbers; a bad number kills its worker."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad

    def __call__(self, number: int) -> int:
        if number in self.bad:
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number


def pool_of(function: Squares, num_processes: int = 2) -> WorkerPool[int, int | str]:
    return WorkerPool(
        function, num_processes, preload=[__name__], on_death=lambda item: f"{item} kills"
    )


class Unpicklable(Squares):
    """Fails in every worker while it starts."""

    def __setstate__(self, state: object) -> None:
        raise ImportError("a library is broken")


@pytest.mark.parametrize("bad", [(), (0,), (5, 6), (2, 8, 11)])
def test_all_results_come_in_order_and_items_that_kill_their_worker_become_deaths(
    bad: tuple[int, ...],
) -> None:
    pool = pool_of(Squares(*bad))
    try:
        expected = [(n, f"{n} kills" if n in bad else n * n) for n in range(12)]
        assert list(pool.iter_results(range(12), 4)) == expected
        assert list(pool.iter_results([3], 4)) == [(3, 9)]
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            Squares(*range(1, 12)),
            "died on 3 segments in a row, .* none is rejected; .*num_decoders=0",
        ),
        (Unpicklable(), "die while they start: .*num_decoders=0"),
    ],
)
def test_workers_that_die_on_every_item_are_not_blamed_on_the_items(
    function: Squares, message: str
) -> None:
    pool = pool_of(function)
    results = []
    try:
        with pytest.raises(StageError, match=message):
            results.extend(pool.iter_results(range(12), 4))
    finally:
        pool.close()
    assert results in ([], [(0, 0)])


def test_items_are_submitted_no_further_ahead_than_num_ahead() -> None:
    submitted: list[int] = []
    pool = pool_of(Squares(), 1)
    try:
        results = pool.iter_results((submitted.append(n) or n for n in range(50)), 3)
        assert submitted == [0, 1, 2], "before the iterator is used"
        assert next(results) == (0, 0)
        assert submitted == [0, 1, 2, 3]
    finally:
        pool.close()


def test_few_items_need_no_workers_and_many_get_one_per_core() -> None:
    assert num_workers_for(10, 8) == 0
    assert num_workers_for(600, 8) == 2
    assert num_workers_for(10**6, 8) == 8
    assert num_workers_for(10**6, 0) == 0


def test_closing_leaves_no_process() -> None:
    pool = pool_of(Squares(), 1)
    (_, _), process_id = next(iter(pool.iter_results([2], 0))), pool._executor.submit(os.getpid)
    number = process_id.result()
    pool.close()
    assert not Path(f"/proc/{number}").exists()


_OWNER = """
import os, sys, time
from pathlib import Path
from tasks.processes.worker_pool import WorkerPool

class WorkerId:
    def __call__(self, item):
        return os.getpid()

if __name__ == "__main__":
    pool = WorkerPool(WorkerId(), 1, preload=[], on_death=str)
    ((_, worker),) = pool.iter_results([1], 0)
    Path(sys.argv[1]).write_text(f"{worker}\\n")
    time.sleep(300)
"""


def test_a_worker_ends_with_the_pool_s_owner(tmp_path: Path) -> None:
    script, pid_path = tmp_path / "owner.py", tmp_path / "worker"
    script.write_text(_OWNER)
    with subprocess.Popen([sys.executable, str(script), str(pid_path)]) as owner:
        worker = number_in(pid_path)
        assert is_alive(worker)
        owner.kill()
    assert wait_until(lambda: not is_alive(worker))
