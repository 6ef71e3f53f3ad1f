import os
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from storage.errors import ItemFault, StageError, ToolError
from tasks.child import ChildLimits
from tasks.media.cut import count_frames, cut, cut_command, read_sound, sound_name, write_sound
from tasks.media.plan import SAMPLE_RATE, plan_segments
from tasks.media.probe import probe

LIMITS = ChildLimits(seconds=60)
WITH_SOUND = {  # when, on the picture's clock, a beep is heard
    "cfr25.mp4": [1, 6.5, 11],
    "ntsc.mp4": [2],
    "one-frame-over.mp4": [9],
    "vfr.mp4": [4, 8],
    "two-rates.webm": [3, 9],
    "jitter.mkv": [1, 6],
    "b-frames.mkv": [5],
    "b-frames.avi": [5],
    "odd.mp4": [1],
    "sound-shorter.mp4": [1],
    "sound-longer.mp4": [1, 5],
    "sound-late.mp4": [2.5],
    "picture-late.mkv": [1.8, 4.8],
    "picture-late.mp4": [1.8, 4.8],
    "recorded-live.webm": [1.2, 3.2],
    "clock-not-at-zero.ts": [2, 5.5],
    "sound-with-a-hole.mkv": [1, 6],
    "many-streams.mp4": [4],
    "rotated.mp4": [1],
    "trimmed.mp4": [5.2, 9.7],
    "very-short.mp4": [0],
}
WITHOUT_SOUND = ["no-sound.mp4", "one-frame.mp4", "wide-pixels.mp4"]
ALL = [*WITH_SOUND, *WITHOUT_SOUND]


def beeps_of(samples: np.ndarray) -> list[float]:
    """When each stretch of loud sound begins, in seconds."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 6_000)
    begins = [n for k, n in enumerate(loud) if k == 0 or n - loud[k - 1] > SAMPLE_RATE // 4]
    return [n / SAMPLE_RATE for n in begins]


@pytest.mark.parametrize("name", ALL)
def test_the_frames_of_all_segments_are_the_frames_of_the_video(cut_video, name):
    made = cut_video(name)
    counts = [len(frames) for frames in made.pictures()]
    assert counts == [segment.num_frames for segment in made.done.plan]
    assert sum(counts) == len(made.done.source.frame_times)


@pytest.mark.parametrize("name", ALL)
def test_every_frame_is_shown_when_the_source_shows_it(cut_video, name):
    made = cut_video(name)
    times = np.array(made.done.source.frame_times) - made.done.source.start_time
    for segment, frames in zip(made.done.plan, made.pictures(), strict=True):
        expected = times[segment.first_frame : segment.end_frame] - times[segment.first_frame]
        assert np.abs(np.array([shown for shown, _ in frames]) - expected).max() < 0.001


@pytest.mark.parametrize("name", ["cfr25.mp4", "vfr.mp4", "two-rates.webm", "b-frames.mkv"])
def test_every_frame_shows_what_the_source_shows(cut_video, video, name):
    made = cut_video(name)
    from_segments = [picture for frames in made.pictures() for _, picture in frames]
    from_source = [picture for _, picture in _decode(video(name))]
    for n in range(5, len(from_source) - 5, 7):
        near = [
            np.abs(from_segments[n] - from_source[n + by].astype(int)).mean() for by in (-5, 0, 5)
        ]
        assert near[1] < 6
        assert near[1] < min(near[0], near[2])


def _decode(path: Path):
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.time, frame.reformat(40, 30, "gray").to_ndarray()


@pytest.mark.parametrize("name", ALL)
def test_no_segment_is_too_long_and_none_is_a_stub(cut_video, name):
    lengths = [segment.end_ms - segment.start_ms for segment in cut_video(name).done.plan]
    assert max(lengths) <= 5_000
    gap_ms = 1000 * np.diff(cut_video(name).done.source.frame_times, append=np.inf)[:-1].max(
        initial=0
    )
    assert max(lengths) - min(lengths) <= 2 * gap_ms + 1


@pytest.mark.parametrize("name", WITH_SOUND)
def test_the_sound_is_cut_to_the_sample_on_the_pictures_clock(cut_video, name):
    made = cut_video(name)
    assert [len(sound) for sound in made.sounds()] == [s.num_samples for s in made.done.plan]
    whole = sum(len(sound) for sound in made.sounds())
    assert whole == round(made.done.source.duration_seconds * SAMPLE_RATE)
    with wave.open(str(made.folder / sound_name(0)), "rb") as stream:
        assert (stream.getframerate(), stream.getnchannels(), stream.getsampwidth()) == (
            16_000, 1, 2,
        )  # fmt: skip


@pytest.mark.parametrize("name", WITH_SOUND)
def test_what_is_heard_is_heard_when_it_should_be(cut_video, name):
    # 45 ms: AVI has no times of its own, so that its reordered frames come one frame late.
    exact = 0.045 if name.endswith(".avi") else 0.012
    heard = beeps_of(np.concatenate(cut_video(name).sounds()))
    assert heard == pytest.approx(WITH_SOUND[name], abs=exact)


@pytest.mark.parametrize("name", WITHOUT_SOUND)
def test_a_video_without_sound_has_pictures_only(cut_video, name):
    made = cut_video(name)
    assert sorted(path.suffix for path in made.folder.iterdir()) == [".mp4"] * len(made.done.plan)


@pytest.mark.parametrize("name", ALL)
def test_the_source_is_only_read_and_nothing_else_is_left(cut_video, video, name):
    made = cut_video(name)
    assert video(name).read_bytes() == made.source_before
    per_segment = 1 if name in WITHOUT_SOUND else 2
    assert len(list(made.folder.iterdir())) == per_segment * len(made.done.plan)


@pytest.mark.parametrize(
    ("name", "size"),
    [("odd.mp4", (160, 120)), ("rotated.mp4", (120, 160)), ("wide-pixels.mp4", (320, 120))],
)
def test_pictures_are_upright_even_and_of_square_pixels(cut_video, name, size):
    import av

    with av.open(str(cut_video(name).folder / "0000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == size
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.sample_aspect_ratio in (None, 1)


@pytest.mark.parametrize(
    ("long_side", "size"), [(64, (64, 48)), (100, (100, 76)), (4096, (160, 120))]
)
def test_a_large_picture_is_made_smaller_and_a_small_one_is_left(video, tmp_path, long_side, size):
    import av

    source = probe(video("one-frame.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    cut(source, plan, tmp_path, long_side=long_side, crf=23, limits=LIMITS)
    with av.open(str(tmp_path / "0000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == size


@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4", "it's 'quoted' \"twice\".mp4", "100% %04d %s.mp4", "-leading -i dash.mp4",
        "é ü 日本 🙂.mp4", "a:b,c;d[1].mp4", "back\\slash.mp4", "line\nbreak.mp4", "http:x.mp4",
    ],
)  # fmt: skip
def test_no_name_of_a_file_means_anything_to_ffmpeg(video, tmp_path, name):
    folder = tmp_path / "out"
    folder.mkdir()
    path = tmp_path / name
    path.write_bytes(video("very-short.mp4").read_bytes())
    source = probe(path, limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    cut(source, plan, folder, long_side=448, crf=23, limits=LIMITS)
    assert count_frames(folder / "0000.mp4") == 5
    assert len(read_sound(folder / "0000.wav")) == 3_200


def test_one_call_writes_all_pictures_and_the_whole_sound(video):
    source = probe(video("cfr25.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    command = cut_command(source, plan, long_side=448, crf=30)
    assert command[0] == "ffmpeg"
    assert command[command.index("-segment_frames") + 1] == "100,200"
    assert command[command.index("-force_key_frames") + 1] == "expr:eq(n,100)+eq(n,200)"
    assert command[command.index("-crf") + 1] == "30"
    assert "sound.wav" in command


def _fake_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _cut_short(video, folder: Path, seconds: float = 60) -> None:
    source = probe(video("very-short.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    cut(source, plan, folder, long_side=448, crf=23, limits=ChildLimits(seconds=seconds))


def test_a_hanging_ffmpeg_is_killed_with_its_group(video, monkeypatch, tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/child; sleep 300"
    _fake_ffmpeg(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(ItemFault, match="decoding did not end within 2 s and was stopped"):
        _cut_short(video, tmp_path, seconds=2)
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists()


def test_an_ffmpeg_that_succeeds_and_writes_nothing_is_not_believed(video, monkeypatch, tmp_path):
    _fake_ffmpeg(tmp_path / "bin", "exit 0", monkeypatch)
    with pytest.raises(ItemFault, match="damaged: 0 of 5 frames could be decoded into 0 of 1"):
        _cut_short(video, tmp_path)


@pytest.mark.parametrize("signal", [9, 15])
def test_an_ffmpeg_that_was_killed_is_no_videos_fault(video, monkeypatch, tmp_path, signal):
    _fake_ffmpeg(tmp_path / "bin", f"kill -{signal} $$", monkeypatch)
    with pytest.raises(StageError, match=f"ffmpeg was killed by signal {signal} .*run again"):
        _cut_short(video, tmp_path)


@pytest.mark.parametrize("signal", [6, 11])
def test_an_ffmpeg_that_crashes_over_a_video_is_the_videos_fault(
    video, monkeypatch, tmp_path, signal
):
    _fake_ffmpeg(tmp_path / "bin", f"kill -{signal} $$", monkeypatch)
    with pytest.raises(ItemFault, match=rf"ffmpeg crashed on it \(signal {signal}\)"):
        _cut_short(video, tmp_path)


def test_an_ffmpeg_without_h264_is_no_videos_fault(video, monkeypatch, tmp_path):
    _fake_ffmpeg(tmp_path / "bin", "echo \"Unknown encoder 'libx264'\" >&2; exit 1", monkeypatch)
    with pytest.raises(ToolError, match=r"cannot write H\.264 .*install a full build"):
        _cut_short(video, tmp_path)


def test_a_full_disk_is_no_videos_fault(video, monkeypatch, tmp_path):
    told = "av_interleaved_write_frame(): No space left on device"
    _fake_ffmpeg(tmp_path / "bin", f"echo '{told}' >&2; exit 1", monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        _cut_short(video, tmp_path)


def test_a_missing_ffmpeg_is_no_videos_fault(video, monkeypatch, tmp_path):
    source = probe(video("very-short.mp4"), limits=LIMITS)
    plan = plan_segments(source.frame_times, source.end_time, 5_000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="'ffmpeg' is not installed"):
        cut(source, plan, tmp_path, long_side=448, crf=23, limits=LIMITS)


def test_a_file_that_is_no_segment_has_no_frames(tmp_path):
    (tmp_path / "text.mp4").write_text("no picture")
    (tmp_path / "empty.mp4").touch()
    names = ["text.mp4", "empty.mp4", "gone.mp4"]
    assert [count_frames(tmp_path / name) for name in names] == [0, 0, 0]


def test_written_sound_is_read_back(tmp_path):
    samples = np.array([0, 1, -1, 32_767, -32_768], np.int16)
    write_sound(tmp_path / "a.wav", samples)
    assert np.array_equal(read_sound(tmp_path / "a.wav"), samples)
    assert len(read_sound(tmp_path / "gone.wav")) == 0
