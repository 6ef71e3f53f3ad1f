import io
import sys
from pathlib import Path

import pytest

from storage.errors import CrashError, ModelError, StageError
from tasks.processes.child_frame import DoneCounter, is_lack_of_memory
from tasks.processes.child_process import run_child

CHILD = """
import sys
from pathlib import Path
from storage.errors import ModelError
from tasks.processes.child_frame import run_as_child

def work(out):
    print("for the parent", file=out)
    print("a library's output")
    {last}

sys.exit(run_as_child("the test", Path(sys.argv[1]), work, out_of_memory="Use less."))
"""


def run(tmp_path: Path, last: str = "pass") -> tuple[list[str], str]:
    """Run a child to its end; returns the lines for its parent, and the log."""
    lines: list[str] = []
    job_path = tmp_path / "job.json"
    command = [sys.executable, "-c", CHILD.format(last=last), str(job_path)]
    run_child(command, on_line=lines.append, job_path=job_path)
    return lines, (tmp_path / "job.log").read_text()


def test_only_the_child_s_lines_reach_the_parent_and_libraries_write_to_the_log(
    tmp_path: Path,
) -> None:
    lines, log = run(tmp_path)
    assert lines == ["for the parent"]
    assert "a library's output" in log
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]


def test_a_user_s_error_is_raised_in_the_parent_with_its_class(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^no model$"):
        run(tmp_path, "raise ModelError('no model')")


def test_an_unexpected_error_is_reported_by_its_class_alone(tmp_path: Path) -> None:
    with pytest.raises(CrashError, match=r"^the test failed \(ZeroDivisionError\)\.$"):
        run(tmp_path, "1 / 0")
    assert "ZeroDivisionError" in (tmp_path / "job.log").read_text()
    assert "division" not in (tmp_path / "job.error.json").read_text()


def test_lack_of_memory_is_reported_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^Use less\.$") as caught:
        run(tmp_path, "raise RuntimeError('CUDA out of memory.')")
    assert not isinstance(caught.value, CrashError)


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "os._exit(7)"])
def test_a_child_that_dies_without_a_report_is_a_crash(tmp_path: Path, how: str) -> None:
    (tmp_path / "job.error.json").write_text('{"error": "ModelError", "message": "of before"}')
    with pytest.raises(CrashError, match=r"signal 9|status 7"):
        run(tmp_path, f"import os; {how}")


def test_lack_of_memory_is_recognized_by_the_allocators_words() -> None:
    messages = (
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "you tried to allocate memory",
        "can't allocate memory",
    )
    assert all(is_lack_of_memory(RuntimeError(message)) for message in messages)
    assert is_lack_of_memory(MemoryError())
    assert not is_lack_of_memory(RuntimeError("size mismatch"))


def test_a_counter_prints_at_most_one_line_a_second() -> None:
    out = io.StringIO()
    counter = DoneCounter(out)
    for _ in range(3):
        counter.add()
        counter.show_if_due()
    counter.show()
    assert out.getvalue().splitlines() == ["done 1", "done 3"]
