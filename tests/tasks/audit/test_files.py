import shutil
import threading
from pathlib import Path

import pytest

from storage.errors import ToolError
from storage.fingerprint import digest_file
from storage.records import VideoId
from tasks.audit import files
from tasks.audit.files import probe_files
from tasks.processes.tool import ToolLimits


def test_durations_and_faults_are_found_and_only_files_of_equal_size_are_digested(video, tmp_path):
    paths = {"a": video("cfr25.mp4"), "copy": tmp_path / "copy.mp4", "no": tmp_path / "no.mp4"}
    paths |= {"empty": tmp_path / "empty.mp4", "missing": tmp_path / "missing.mp4"}
    shutil.copy(paths["a"], paths["copy"])
    paths["no"].write_text("not a video")
    paths["empty"].touch()
    calls = []
    facts = probe_files(paths, lambda: calls.append(1))
    assert facts.durations == {"a": 12_000, "copy": 12_000}
    assert set(facts.faults) == {"no", "empty", "missing"}
    assert facts.faults["empty"] == "the file is empty (0 bytes)"
    assert facts.digests == dict.fromkeys(("a", "copy"), digest_file(paths["a"]))
    assert len(calls) == len(paths)


def test_an_unforeseen_error_of_one_file_is_reported_and_the_others_are_checked(video, monkeypatch):
    real = files.probe_seconds

    def fail_on_one(path: Path, limits: ToolLimits) -> float:
        return [][1] if path.suffix == ".mkv" else real(path, limits=limits)

    monkeypatch.setattr(files, "probe_seconds", fail_on_one)
    facts = probe_files({"a": video("b-frames.mkv"), "b": video("cfr25.mp4")})
    assert (set(facts.durations), facts.faults, set(facts.errors)) == ({"b"}, {}, {"a"})
    assert facts.errors["a"].startswith("unexpected IndexError in fail_on_one (test_files.py, ")


def test_missing_ffprobe_is_an_error(video, monkeypatch, tmp_path):
    path = video("cfr25.mp4")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError):
        probe_files({"a": path})


def test_pending_files_are_not_opened_once_the_caller_fails(tmp_path, monkeypatch):
    opened: list[Path] = []
    monkeypatch.setattr(files, "digest_file", lambda path: opened.append(path) or "digest")
    paths = {VideoId(str(number)): tmp_path / str(number) for number in range(10_000)}

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.digest_files(paths, interrupt)
    assert len(opened) < len(paths)
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("ThreadPoolExecutor") for name in names)
