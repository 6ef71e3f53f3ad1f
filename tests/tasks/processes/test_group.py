import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import StageError, ToolError
from tasks.processes.group import ChildGroup, kill_group, start_process

SLEEP = ["sleep", "300"]


def test_a_stopped_group_ends_its_processes_and_accepts_none_until_it_is_allowed() -> None:
    group = ChildGroup()
    with start_process(SLEEP) as running, start_process(SLEEP) as late:
        group.add(running)
        group.stop()
        assert running.wait(60) == -signal.SIGKILL
        assert group.is_stopped
        with pytest.raises(StageError, match="run again"):
            group.check()
        group.add(late)
        assert late.wait(60) == -signal.SIGKILL
    group.allow()
    group.check()
    assert not group.is_stopped


def test_a_process_is_ended_with_what_it_started_and_a_second_time_without_an_error() -> None:
    script = "import subprocess, sys; subprocess.run(['sleep', '300'])"
    with start_process([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        kill_group(process)
        assert process.communicate(timeout=60) == (b"", None), "the pipe is closed by all of them"
        kill_group(process)


def test_a_missing_program_is_named_but_a_missing_folder_is_another_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="'no-such-program' is not installed"):
        start_process(["no-such-program"])
    with pytest.raises(FileNotFoundError):
        start_process(["true"], cwd=tmp_path / "missing")
