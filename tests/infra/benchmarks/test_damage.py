import random

import numpy as np
import pytest

from infra.benchmarks import damage
from infra.benchmarks.damage import decode, flip_bytes, levels, main, outcomes


def test_bytes_are_flipped_between_header_and_index_only():
    content = bytes(20_000)
    changed = np.frombuffer(flip_bytes(content, 60, random.Random(1)), np.uint8)
    assert 50 < np.count_nonzero(changed) <= 60
    assert not changed[:3_000].any()
    assert not changed[-8_000:].any()
    assert flip_bytes(content, 5, random.Random(2)) == flip_bytes(content, 5, random.Random(2))


def test_equal_frames_are_perfect_and_missing_ones_are_nothing():
    frames = {time: np.full((2, 2), 100, np.uint8) for time in range(3)}
    other = {0: frames[0], 1: frames[1] + np.uint8(10)}
    assert levels(frames, other).tolist() == pytest.approx([99, 28.13, 0], abs=0.01)


def test_more_flipped_bytes_leave_fewer_good_frames(video, tmp_path):
    path = tmp_path / "clean.mp4"
    path.write_bytes(video("cfr25.mp4").read_bytes())
    assert len(decode(path)) == 300
    found = list(outcomes("H.264", path, 1))
    assert len(found) == len(damage.NUM_FLIPS)
    assert found[0].bad < found[-1].bad
    assert not found[-1].is_kept


def test_the_table_has_a_row_per_codec(video, monkeypatch, capsys):
    codec = {"MJPEG": damage.CODECS["MJPEG"]}
    monkeypatch.setattr(damage, "CODECS", codec)
    monkeypatch.setattr(damage, "NUM_FLIPS", (1,))
    monkeypatch.setattr(damage, "_SECONDS", 2)
    assert main(["--video", str(video("cfr25.mp4")), "--copies", "1"]) == 0
    assert "| MJPEG | 1 | 1 | 0 | 0 | 0 |" in capsys.readouterr().out
