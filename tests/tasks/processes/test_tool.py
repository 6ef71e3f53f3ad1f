import resource
import sys
import time

import pytest

from storage.errors import ToolError
from tasks.processes.tool import ToolLimits, run_tool
from tests.tasks.alive import is_alive, number_in, wait_until

PYTHON = sys.executable
LIMITS = ToolLimits(seconds=60)


def test_status_output_and_stderr_are_returned():
    script = "import sys; print('out'); sys.stderr.write('one\\ntwo\\n'); sys.exit(3)"
    result = run_tool([PYTHON, "-c", script], limits=LIMITS)
    assert (result.status, result.output, result.stderr_tail) == (3, b"out\n", ("one", "two"))
    assert (result.num_stderr_lines, result.timed_out) == (2, False)


def test_endless_stderr_neither_blocks_nor_fills_memory():
    script = "import sys\nfor n in range(100_000): sys.stderr.write(f'line {n}\\n')"
    result = run_tool([PYTHON, "-c", script], limits=LIMITS)
    assert result.num_stderr_lines == 100_000
    assert len(result.stderr_tail) == 40
    assert result.stderr_tail[-1] == "line 99999"


def test_a_tool_has_no_stdin():
    result = run_tool([PYTHON, "-c", "print(input())"], limits=LIMITS)
    assert result.status != 0
    assert "EOFError" in result.stderr_tail[-1]


def test_a_tool_runs_in_its_folder(tmp_path):
    run_tool(["touch", "--", "-a name"], limits=LIMITS, folder=tmp_path)
    assert (tmp_path / "-a name").exists()


def test_no_shell_interprets_arguments(tmp_path):
    result = run_tool(["echo", f"$HOME; touch {tmp_path}/x"], limits=LIMITS)
    assert result.output.decode() == f"$HOME; touch {tmp_path}/x\n"
    assert not (tmp_path / "x").exists()


def test_a_hanging_tool_is_killed_with_its_children(tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/child; sleep 300"
    started = time.monotonic()
    result = run_tool(["sh", "-c", script], limits=ToolLimits(seconds=2))
    assert result.timed_out
    assert time.monotonic() - started < 60
    child = number_in(tmp_path / "child")
    assert wait_until(lambda: not is_alive(child))


def test_a_missing_program_is_named_with_how_to_install_it():
    with pytest.raises(ToolError, match=r"'no-such-tool' is not installed .*install it"):
        run_tool(["no-such-tool"], limits=LIMITS)


def test_a_file_that_cannot_be_executed_is_named(tmp_path):
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\n")
    with pytest.raises(ToolError, match="is not installed"):
        run_tool([str(path)], limits=LIMITS)


def test_a_missing_folder_is_not_reported_as_a_missing_program(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        run_tool(["true"], limits=LIMITS, folder=tmp_path / "gone")


_TAKE_600_MIB = """
import os
try:
    x = bytearray(600 << 20)
except MemoryError:
    raise SystemExit(os.strerror(12))
"""


@pytest.mark.parametrize(("memory_mb", "status"), [(2000, 0), (400, 1)])
def test_a_tool_gets_no_more_memory_than_its_limit(memory_mb, status):
    limits = ToolLimits(seconds=60, memory_mb=memory_mb)
    result = run_tool([PYTHON, "-c", _TAKE_600_MIB], limits=limits)
    assert (result.status, result.out_of_memory) == (status, status == 1)


def test_the_memory_limit_holds_for_a_tool_s_children(tmp_path):
    script = tmp_path / "take.py"
    script.write_text(_TAKE_600_MIB)
    command = ["sh", "-c", f"sleep 0.2; '{PYTHON}' '{script}'; exit 7"]
    result = run_tool(command, limits=ToolLimits(seconds=60, memory_mb=400))
    assert (result.status, result.out_of_memory) == (7, True)


def test_the_memory_limit_does_not_change_this_process():
    before = resource.getrlimit(resource.RLIMIT_AS)
    run_tool(["true"], limits=ToolLimits(seconds=60, memory_mb=64))
    assert resource.getrlimit(resource.RLIMIT_AS) == before
