import sys
from pathlib import Path

import pytest

from storage.errors import ModelError, StageError
from tasks.processes.child_process import run_worker

CHILD = """
import sys
from pathlib import Path
from storage.errors import ModelError
from tasks.processes.child_frame import run_as_child

def work(out):
    print("for the parent", file=out)
    print("a library's chatter")
    {last}

sys.exit(run_as_child("the test", Path(sys.argv[1]), work))
"""


def run(tmp_path: Path, last: str = "pass") -> tuple[list[str], str]:
    """Run a child to its end; gives what its parent heard, and the log."""
    lines: list[str] = []
    command = [sys.executable, "-c", CHILD.format(last=last), str(tmp_path / "log")]
    run_worker(command, on_line=lines.append)
    return lines, (tmp_path / "log").read_text()


def test_the_parent_hears_the_child_alone_and_libraries_write_to_the_log(tmp_path: Path) -> None:
    lines, log = run(tmp_path)
    assert lines == ["for the parent"]
    assert "a library's chatter" in log


def test_a_mistake_is_raised_again_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        run(tmp_path, "raise ModelError('no model')")


def test_what_nobody_foresaw_is_told_by_its_kind_alone(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^the test failed \(ZeroDivisionError\)\.$"):
        run(tmp_path, "1 / 0")
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()
