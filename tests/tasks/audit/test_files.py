import shutil

import pytest

from storage.errors import ToolError
from storage.fingerprint import digest_file
from tasks.audit.files import look_at


def test_lengths_and_reasons_are_given_and_only_files_of_one_size_are_compared(video, tmp_path):
    paths = {"a": video("cfr25.mp4"), "twin": tmp_path / "twin.mp4", "no": tmp_path / "no.mp4"}
    paths |= {"empty": tmp_path / "empty.mp4", "gone": tmp_path / "gone.mp4"}
    shutil.copy(paths["a"], paths["twin"])
    paths["no"].write_text("no video")
    paths["empty"].touch()
    seen = []
    found = look_at(paths, lambda: seen.append(1))
    assert found.durations == {"a": 12_000, "twin": 12_000}
    assert set(found.faults) == {"no", "empty", "gone"}
    assert found.faults["empty"] == "the file is empty (0 bytes)"
    assert found.digests == dict.fromkeys(("a", "twin"), digest_file(paths["a"]))
    assert len(seen) == len(paths)


def test_missing_ffprobe_is_told_at_once(video, monkeypatch, tmp_path):
    path = video("cfr25.mp4")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError):
        look_at({"a": path})
