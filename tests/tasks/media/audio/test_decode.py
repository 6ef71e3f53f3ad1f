import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from storage.errors import ItemFault
from tasks.media.audio.decode import decode_audio
from tasks.media.audio.wav import read_audio
from tasks.media.cut_video import CutVideo, cut_video
from tasks.media.probe import probe
from tasks.media.rules import CutRules
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)
RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_fraction=0.9)
BURSTS = "0.4*sin(2*PI*440*t)*lt(mod(t\\,0.5)\\,0.25)"  # twice a second
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments: str | Path) -> None:
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


def frames(seconds: float) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=s=64x48:r=10:d={seconds}")


def bursts(seconds: float, rate: int = 48_000, channels: str = BURSTS) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"aevalsrc={channels}:s={rate}:d={seconds}")


@pytest.fixture
def cut(tmp_path: Path) -> Callable[[Path], tuple[CutVideo, list[np.ndarray]]]:
    """Cut a file; return the result and each segment's samples."""

    def cut_file(path: Path) -> tuple[CutVideo, list[np.ndarray]]:
        (tmp_path / "out").mkdir()
        result = cut_video(path, tmp_path / "out", RULES, 4096)
        return result, [read_audio(tmp_path / "out" / f"{s.index:04d}.wav") for s in result.plan]

    return cut_file


def onsets(samples: np.ndarray) -> list[float]:
    """Return the seconds at which bursts start."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 2_000)
    starts = [n for k, n in enumerate(loud) if k == 0 or n - loud[k - 1] > 2_000]
    return [n / 16_000 for n in starts]


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


@pytest.mark.parametrize(
    ("suffix", "codec", "before", "after"),
    [
        ("mkv", "libmp3lame", (44_100, 1), (44_100, 2)),
        ("mkv", "ac3", (48_000, 2), (48_000, 6)),
        ("ts", "aac", (44_100, 2), (48_000, 1)),
        ("ts", "mp2", (32_000, 1), (48_000, 2)),
        ("ts", "mp2", (48_000, 2), (44_100, 1)),
    ],
)
def test_audio_goes_on_where_its_format_changes(tmp_path, cut, suffix, codec, before, after):
    parts = [tmp_path / f"{number}.{suffix}" for number in (0, 1)]
    for part, seconds, (rate, channels) in zip(parts, (2, 3), (before, after), strict=True):
        audio = (*bursts(seconds, rate), "-ac", str(channels), "-c:a", codec)
        ffmpeg(*frames(seconds), *audio, *H264, part)
    (tmp_path / "list.txt").write_text("".join(f"file '{part}'\n" for part in parts))
    path = tmp_path / f"joined.{suffix}"
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "list.txt", "-c", "copy", path)
    result, audios = cut(path)
    found = onsets(np.concatenate(audios))
    assert len(found) == 10
    assert found[:4] == pytest.approx([0, 0.5, 1, 1.5], abs=0.06)
    assert np.diff(found[4:]) == pytest.approx(0.5, abs=0.03)
    assert result.audio_quality.decoded_fraction > 0.98


def test_audio_goes_on_in_joined_mp3_files(tmp_path, cut):
    for number, (rate, channels) in enumerate([(44_100, 1), (48_000, 2)]):
        ffmpeg(*bursts(2, rate), "-ac", str(channels), tmp_path / f"{number}.mp3")
    path = tmp_path / "joined.mp3"
    path.write_bytes(b"".join((tmp_path / f"{n}.mp3").read_bytes() for n in (0, 1)))
    result, audios = cut(path)
    assert len(onsets(np.concatenate(audios))) == 8
    assert result.audio_quality.decoded_fraction > 0.97


@pytest.mark.parametrize(
    ("channels", "codec", "suffix", "warning"),
    [
        (f"{BURSTS}|-{BURSTS}", "pcm_s16le", "mov", "the channels are in antiphase"),
        (f"{BURSTS}|-{BURSTS}", "aac", "mp4", "the channels are in antiphase"),
        (f"{BURSTS}|0", "pcm_s16le", "mov", "the right audio channel is silent"),
        (f"0|{BURSTS}", "libmp3lame", "mkv", "the left audio channel is silent"),
        (f"{BURSTS}|{BURSTS}", "libopus", "mkv", None),
    ],
)
def test_one_channel_has_the_level_of_the_source(tmp_path, cut, channels, codec, suffix, warning):
    path = tmp_path / f"a.{suffix}"
    audio = (*bursts(2, channels=channels), "-c:a", codec, "-b:a", "128k")
    ffmpeg(*frames(2), *audio, *H264, path)
    result, audios = cut(path)
    assert [w.startswith(warning) for w in result.warnings] == ([True] if warning else [])
    assert (result.dead_channel, result.antiphase) == (
        warning is not None and "silent" in warning,
        warning is not None and "antiphase" in warning,
    )
    assert np.percentile(np.abs(audios[0].astype(int)), 99.5) == pytest.approx(13_100, rel=0.08)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x5a"])
def test_damaged_audio_is_no_silence(tmp_path, cut, fill):
    path = tmp_path / "a.mp4"
    ffmpeg(*frames(4), *bursts(4), *H264, "-c:a", "aac", path)
    listed = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", "packet=size,pos",
         "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    content = bytearray(path.read_bytes())
    for row in listed:
        size, position = map(int, row.split(",")[:2])
        content[position : position + size] = fill * size
    path.write_bytes(content)
    result, _ = cut(path)
    assert [audio.is_written for audio in result.audio] == [False]
    assert not list((tmp_path / "out").glob("*.wav"))
    assert "1 of 1 segments are without audio" in result.warnings[-1]


@pytest.mark.parametrize("late", ["video", "audio"])
def test_audio_on_another_clock_is_no_silence(tmp_path, cut, late):
    path, offset = tmp_path / "a.mkv", ("-itsoffset", "1700000000")
    inputs = (*frames(2), *offset, *bursts(3))
    if late == "video":
        inputs = (*offset, *frames(2), *bursts(3))
    ffmpeg(*inputs, *H264, "-c:a", "aac", path)
    result, _ = cut(path)
    assert [audio.is_written for audio in result.audio] == [False]
    assert result.warnings[-1].startswith("3.0")


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "libopus")])
def test_audio_after_the_last_frame_is_kept(tmp_path, cut, suffix, codec):
    path = tmp_path / f"a.{suffix}"
    ffmpeg(*frames(2), *bursts(8), *H264, "-c:a", codec, path)
    result, audios = cut(path)
    assert [segment.num_frames for segment in result.plan] == [20, 0, 0]
    found = onsets(np.concatenate(audios))
    assert found == pytest.approx([k / 2 for k in range(16)], abs=0.06)
    assert result.warnings == ()
