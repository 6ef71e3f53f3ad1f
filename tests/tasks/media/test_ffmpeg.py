import os
import shlex
import signal
import time
from pathlib import Path

import ffmpeg
import pytest

from storage.errors import ItemFault, StageError, ToolError
from tasks.media.ffmpeg import compile_command, run_ffmpeg, run_ffprobe
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


def run_script(script: str, folder: Path, seconds: float = 60) -> None:
    """Run a shell script in place of ffmpeg."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    run_ffmpeg([str(program)], folder, ToolLimits(seconds=seconds))


def test_hanging_ffmpeg_is_killed_with_its_process_group(tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/child; sleep 300"
    with pytest.raises(ItemFault, match="decoding timed out after 2 s"):
        run_script(script, tmp_path, seconds=2)
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("number", [9, 15])
def test_killed_ffmpeg_is_not_the_videos_fault(tmp_path, number):
    with pytest.raises(StageError, match=f"ffmpeg was killed by signal {number} .*run again"):
        run_script(f"kill -{number} $$", tmp_path)


@pytest.mark.parametrize("number", [6, 11])
def test_ffmpeg_that_crashes_on_a_video_is_the_videos_fault(tmp_path, number):
    with pytest.raises(ItemFault, match=rf"ffmpeg crashed on this file \(signal {number}\)"):
        run_script(f"kill -{number} $$", tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ffmpeg_that_is_stopped_and_ends_in_order_is_not_the_videos_fault(tmp_path, number):
    source = ffmpeg.input("testsrc=duration=100000:size=64x48", format="lavfi")
    command = compile_command(source.output(str(tmp_path / "out.mp4")))
    script = f"(sleep 1; kill -{number:d} $$) & exec {shlex.join(command)}"
    with pytest.raises(StageError, match=f"ffmpeg was killed by signal {number:d} .*run again"):
        run_ffmpeg(["sh", "-c", script], tmp_path, LIMITS)
    assert (tmp_path / "out.mp4").stat().st_size > 0  # it wrote its trailer, like a short video


def test_ffmpeg_without_h264_is_not_the_videos_fault(tmp_path):
    with pytest.raises(ToolError, match=r"cannot write H\.264 .*install a full build"):
        run_script("echo \"Unknown encoder 'libx264'\" >&2; exit 1", tmp_path)


def test_full_disk_is_not_the_videos_fault(tmp_path):
    message = "av_interleaved_write_frame(): No space left on device"
    with pytest.raises(OSError, match="No space left on device"):
        run_script(f"echo '{message}' >&2; exit 1", tmp_path)


def test_missing_ffmpeg_is_not_the_videos_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="'ffmpeg' is not installed"):
        run_ffmpeg(["ffmpeg"], tmp_path, LIMITS)


def test_killed_ffprobe_is_not_the_videos_fault(monkeypatch, tmp_path):
    program = tmp_path / "ffprobe"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StageError, match=r"ffprobe was killed by signal 9 .*run again"):
        run_ffprobe(tmp_path / "a.mp4", limits=LIMITS)
