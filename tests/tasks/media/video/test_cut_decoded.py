import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from infra.zoo.sources import video as numbered
from infra.zoo.truth import numbered_frames
from storage.errors import ItemFault
from tasks.media.audio.command import audio_name
from tasks.media.audio.wav import read_audio
from tasks.media.cut_video import CutVideo, cut_video
from tasks.media.rules import CutRules
from tasks.media.video.command import video_name

RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_fraction=0.9)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k")


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=60)


def cut(path: Path, folder: Path, rules: CutRules = RULES) -> CutVideo:
    folder.mkdir()
    return cut_video(path, folder, rules, 4096)


def written_times(result: CutVideo, folder: Path) -> list[float]:
    """Return when each written frame is displayed, in seconds from the start."""
    times = []
    for segment in result.plan:
        with av.open(str(folder / video_name(segment.index))) as container:
            frames = list(container.decode(video=0))
        times += [segment.start_ms / 1000 + frame.time for frame in frames]
    return times


def written_sizes(result: CutVideo, folder: Path) -> set[tuple[int, int]]:
    sizes = set()
    for segment in result.plan:
        with av.open(str(folder / video_name(segment.index))) as container:
            sizes.add((container.streams.video[0].width, container.streams.video[0].height))
    return sizes


@pytest.fixture(scope="module")
def part(tmp_path_factory) -> Callable[..., Path]:
    """Generate a short video of numbered frames of a size, once each."""
    folder = tmp_path_factory.mktemp("parts")

    def make(suffix: str, size: str, seconds: float, *encoder: str) -> Path:
        path = folder / f"{size}-{seconds}{suffix}"
        if not path.exists():
            ffmpeg(*numbered(seconds, size=size), *encoder, str(path))
        return path

    return make


def concatenate(parts: list[Path], out: Path) -> Path:
    """Join files into one stream with a continuous clock."""
    (out.parent / "list.txt").write_text("".join(f"file '{path}'\n" for path in parts))
    ffmpeg("-f", "concat", "-safe", "0", "-i", str(out.parent / "list.txt"), "-c", "copy", str(out))
    return out


@pytest.mark.parametrize(
    ("name", "sizes", "encoder", "expected"),
    [
        ("up.webm", ["160x120", "320x180"], VP8, (320, 180)),
        ("down.webm", ["320x180", "160x120"], VP8, (320, 180)),
        ("thrice.mkv", ["160x120", "320x240", "80x120", "240x180"], H264, (320, 240)),
        ("thrice.ts", ["160x120", "96x160", "160x120"], H264, (160, 120)),
        ("jpeg.mov", ["160x120", "320x240"], ("-c:v", "mjpeg", "-q:v", "3"), (320, 240)),
    ],
)
def test_frames_of_changing_size_keep_their_times_and_get_one_size(
    part, tmp_path, name, sizes, encoder, expected
):
    suffix = Path(name).suffix
    parts = [part(suffix, size, 2.0, *encoder) for size in sizes]
    path = concatenate(parts, tmp_path / name)
    result = cut(path, tmp_path / "out", replace(RULES, max_segment_ms=3_000))
    assert len(result.source.frame_times) == 50 * len(sizes)
    times = written_times(result, tmp_path / "out")
    assert len(times) == 50 * len(sizes)
    assert np.diff(times) == pytest.approx([0.04] * (len(times) - 1), abs=0.03)
    assert result.plan[-1].end_ms == pytest.approx(2_000 * len(sizes), abs=60)
    assert written_sizes(result, tmp_path / "out") == {expected}
    assert any("the frame size changes within the video" in text for text in result.warnings)
    numbers = [
        number
        for segment in result.plan
        for _, number in numbered_frames(tmp_path / "out" / video_name(segment.index))
    ]
    fitting = [k for k, size in enumerate(sizes) if _aspect(size) == expected[0] / expected[1]]
    for k in fitting:  # bars move the boxes in the others
        assert numbers[50 * k : 50 * (k + 1)] == list(range(50))


def _aspect(size: str) -> float:
    width, height = map(int, size.split("x"))
    return width / height


def flash_and_beep(path: Path, video_s: float, audio_s: float, *times: float) -> bytes:
    at = "+".join(f"between(t,{time},{time + 0.1})" for time in times)
    box = f"drawbox=0:0:iw:ih:white:fill:enable='{at}'"
    ffmpeg(
        *("-f", "lavfi", "-t", str(video_s), "-i", f"color=black:s=96x64:r=25,{box}"),
        *("-f", "lavfi", "-t", str(audio_s), "-i", f"aevalsrc='0.8*sin(6283*t)*({at})':s=48000"),
        *(*H264, "-c:a", "aac", "-f", "mpegts", str(path)),
    )
    return path.read_bytes()


@pytest.mark.parametrize(
    "lengths", [[(4, 4), (4, 4)], [(4, 4.7), (5, 4.3), (3, 3.5)], [(3, 2.5), (3, 3.6)]]
)
def test_video_and_audio_stay_together_where_the_clock_starts_over(tmp_path, lengths):
    path, folder = tmp_path / "joined.ts", tmp_path / "out"
    path.write_bytes(
        b"".join(flash_and_beep(tmp_path / "part.ts", *length, 0.4, 2) for length in lengths)
    )
    result = cut(path, folder)
    assert sum(s.num_frames for s in result.plan) == sum(video_s for video_s, _ in lengths) * 25
    assert all(s.end_ms - s.start_ms <= 5_000 for s in result.plan)
    flashes, beeps = [], []
    for segment in result.plan:
        start = segment.start_ms / 1000
        with av.open(str(folder / video_name(segment.index))) as container:
            for frame in container.decode(video=0):
                if frame.to_ndarray(format="gray").mean() > 128:
                    flashes.append(start + frame.time)
        samples = np.abs(read_audio(folder / audio_name(segment.index)).astype(int))
        beeps += (start + np.flatnonzero(samples > 3_000) / 16_000).tolist()
    assert len(_onsets(flashes)) == 2 * len(lengths)
    assert _onsets(beeps) == pytest.approx(_onsets(flashes), abs=0.045)


def _onsets(times: list[float]) -> list[float]:
    return [b for a, b in zip([-1.0, *times], times, strict=False) if b - a > 0.25]


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("offset", [0, 10_000])
def test_clock_that_jumps_back_or_hours_ahead_is_continued(part, tmp_path, suffix, offset):
    encoder = H264 if suffix == ".ts" else ("-c:v", "mpeg2video", "-q:v", "4")
    first, second = (part(suffix, "160x120", seconds, *encoder) for seconds in (4.0, 3.0))
    late = tmp_path / f"late{suffix}"
    ffmpeg("-i", str(second), "-c", "copy", "-output_ts_offset", str(offset), str(late))
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(first.read_bytes() + late.read_bytes())
    result = cut(path, tmp_path / "out")
    assert len(result.source.frame_times) == 175
    assert result.plan[-1].end_ms == pytest.approx(7_000, abs=50)
    numbers = [
        number
        for segment in result.plan
        for _, number in numbered_frames(tmp_path / "out" / video_name(segment.index))
    ]
    assert numbers == [*range(100), *range(75)]


def test_joined_avi_files_are_one_after_the_other(part, tmp_path):
    first, second = (part(".avi", "160x120", seconds, "-c:v", "mpeg4") for seconds in (4.0, 3.0))
    path = tmp_path / "joined.avi"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    result = cut(path, tmp_path / "out")
    assert result.plan[-1].end_ms == pytest.approx(7_000, abs=100)  # a frame more at each joint
    numbers = [
        number
        for segment in result.plan
        for _, number in numbered_frames(tmp_path / "out" / video_name(segment.index))
    ]
    assert numbers == [*range(100), *range(75)]


def test_clock_of_33_bits_may_wrap(part, tmp_path):
    path = tmp_path / "wraps.ts"
    source = part(".ts", "160x120", 4.0, *H264)
    ffmpeg("-i", str(source), "-c", "copy", "-output_ts_offset", "95440", str(path))
    result = cut(path, tmp_path / "out")
    assert (len(result.source.frame_times), result.plan[-1].end_ms) == (100, 4_000)


def test_clock_that_ffmpeg_does_not_continue_is_rejected(part, tmp_path):
    path = tmp_path / "joined.mkv"
    parts = [part(".mkv", "160x120", seconds, *H264) for seconds in (4.0, 3.0)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(ItemFault, match=r"the clock of the video goes back at 3\.96 s"):
        cut(path, tmp_path / "out")


def test_one_frame_per_ten_seconds_is_held(tmp_path):
    path, folder = tmp_path / "slides.mp4", tmp_path / "out"
    ffmpeg(*numbered(30, fps="0.1"), *H264, str(path))
    result = cut(path, folder)
    assert [segment.num_frames for segment in result.plan] == [1, 0, 1, 0, 1, 0]
    assert [segment.end_ms for segment in result.plan] == [5_000 * k for k in range(1, 7)]
    shown = [
        {number for _, number in numbered_frames(folder / video_name(segment.index))}
        for segment in result.plan
    ]
    assert shown == [{0}, {0}, {1}, {1}, {2}, {2}]


def test_one_damaged_packet_counts_until_the_next_key_frame(tmp_path):
    path = tmp_path / "clean.mkv"
    ffmpeg(*numbered(8), *H264, "-g", "100", "-keyint_min", "100", "-sc_threshold", "0", str(path))
    output = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "packet=pos,size", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    packets = [tuple(map(int, line.split(","))) for line in output.split()]
    for number, is_kept in ((102, False), (198, True)):
        content = bytearray(path.read_bytes())
        size, position = packets[number]
        start = position + size // 3
        content[start : start + size // 3] = bytes(
            255 - b for b in content[start : start + size // 3]
        )
        damaged = tmp_path / f"{number}.mkv"
        damaged.write_bytes(content)
        if is_kept:
            result = cut(damaged, tmp_path / "kept")
            assert any("of 200 frames are damaged" in text for text in result.warnings)
        else:
            with pytest.raises(ItemFault, match=r"damaged: \d\d of 200 frames are damaged"):
                cut(damaged, tmp_path / "rejected")
