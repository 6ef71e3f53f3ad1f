import os

import pytest

from flows.stage_definitions import for_every_core


@pytest.mark.parametrize("cores", [1, 2, 64])
@pytest.mark.parametrize("num_videos", [0, 1, 2, 3, 9, 17, 500, 20_000])
def test_no_core_is_idle_while_another_has_more_than_one_video_left(monkeypatch, cores, num_videos):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    size = for_every_core(num_videos, 16)
    assert 1 <= size <= 16
    num_shards = -(-num_videos // size)
    assert num_shards >= min(num_videos, 2 * cores)
