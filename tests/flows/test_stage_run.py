import pytest
from prefect.futures import PrefectFuture

from flows import stage_run
from storage.errors import StageError
from tasks.child import allow_children, run_worker
from tasks.stage import Shard


def test_a_run_that_is_stopped_lets_no_child_start_until_the_next_one() -> None:
    def stop(shard: Shard) -> PrefectFuture[object]:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            stage_run._wait_for(stop, [Shard(name="one", wanted={"a": "b"})])
        with pytest.raises(StageError, match="The run was stopped"):
            run_worker(["true"], on_line=lambda line: None)
        assert stage_run._wait_for(stop, []) == []
        run_worker(["true"], on_line=lambda line: None)
    finally:
        allow_children()
