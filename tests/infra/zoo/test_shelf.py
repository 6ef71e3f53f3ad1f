import os

import pytest

from infra.zoo.inputs import DAMAGED, GOOD, POOR
from infra.zoo.recipes import RECIPES
from infra.zoo.shelf import Shelf


def test_a_video_is_made_once(tmp_path):
    shelf = Shelf(tmp_path)
    path = shelf("one-frame.mp4")
    created_ns = path.stat().st_mtime_ns
    assert shelf("one-frame.mp4") == path
    assert path.stat().st_mtime_ns == created_ns


def test_every_input_can_be_made_and_every_recipe_is_looked_at(tmp_path):
    shelf = Shelf(tmp_path)
    looked_at_elsewhere = {"moov-first.mp4", "sample-for-sample.mkv", "three-streams.ts"}
    joined = {f"{name}.mkv" for name in ("part-1", "part-2", "mono", "stereo")}
    joined |= {"part-1.webm", "part-2.webm", "mono.ts", "stereo.ts", "intact-audio.mp4"}
    assert set(RECIPES) - set(GOOD) - set(DAMAGED) - set(POOR) == looked_at_elsewhere | joined
    for name in ("empty.mp4", "pipe.mp4", "device.mp4", "http:x.mp4"):
        assert os.path.lexists(shelf(name))


def test_an_unknown_name_is_rejected(tmp_path):
    with pytest.raises(KeyError, match=r"no 'giraffe\.mp4'"):
        Shelf(tmp_path)("giraffe.mp4")
