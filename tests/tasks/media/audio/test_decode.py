import os
from pathlib import Path

import pytest

from storage.errors import ItemFault
from tasks.media.audio.decode import decode_audio
from tasks.media.probe import probe
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


def _fake_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_exit_status_zero_without_audio_is_a_fault_of_an_audio_file(video, monkeypatch, tmp_path):
    source = probe(video("audio-only.m4a"), limits=LIMITS)
    _fake_ffmpeg(tmp_path / "bin", "echo 'no such decoder' >&2", monkeypatch)
    message = r"no audio could be decoded \(ffmpeg: no such decoder\)"
    with pytest.raises(ItemFault, match=message):
        decode_audio(source, tmp_path, LIMITS)
