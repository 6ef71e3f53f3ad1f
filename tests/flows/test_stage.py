import pytest
from prefect.futures import PrefectFuture

from flows import stage as stage_run
from storage.errors import StageError
from tasks.processes.child_process import run_child
from tasks.processes.group import allow_children


def test_a_run_that_is_stopped_lets_no_child_start_until_the_next_one() -> None:
    def stop() -> PrefectFuture[object]:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            stage_run.wait_for([stop])
        with pytest.raises(StageError, match="The run was stopped"):
            run_child(["true"], on_line=lambda line: None)
        assert stage_run.wait_for([]) == []
        run_child(["true"], on_line=lambda line: None)
    finally:
        allow_children()
