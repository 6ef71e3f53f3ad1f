from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect import Task

from flows.running.submit import submit_all
from storage.errors import StageError
from tasks.processes.child_process import run_child
from tasks.processes.group import allow_children


def test_a_run_that_is_stopped_lets_no_child_start_until_the_next_one() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    task = cast(Task[..., Any], SimpleNamespace(submit=stop))
    try:
        with pytest.raises(KeyboardInterrupt):
            submit_all(task, [{}])
        with pytest.raises(StageError, match="The run was stopped"):
            run_child(["true"], on_line=lambda line: None)
        assert submit_all(task, []) == []
        run_child(["true"], on_line=lambda line: None)
    finally:
        allow_children()
