import os

import pytest
from prefect.futures import PrefectFuture

from flows import stages
from flows.stages import for_every_core
from storage.errors import StageError
from tasks.child import allow_children, run_worker
from tasks.stage import Shard


@pytest.mark.parametrize("cores", [1, 2, 64])
@pytest.mark.parametrize("num_videos", [0, 1, 2, 3, 9, 17, 500, 20_000])
def test_no_core_stands_idle_while_another_has_videos_to_spare(monkeypatch, cores, num_videos):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    size = for_every_core(num_videos, 16)
    assert 1 <= size <= 16
    num_shards = -(-num_videos // size)
    assert num_shards >= min(num_videos, 2 * cores)


def test_a_run_that_is_stopped_lets_no_child_start_until_the_next_one() -> None:
    def stop(shard: Shard) -> PrefectFuture[object]:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            stages._wait_for(stop, [Shard(name="one", wanted={"a": "b"})])
        with pytest.raises(StageError, match="The run was stopped"):
            run_worker(["true"], on_line=lambda line: None)
        assert stages._wait_for(stop, []) == []
        run_worker(["true"], on_line=lambda line: None)
    finally:
        allow_children()
