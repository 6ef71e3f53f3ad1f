"""Verify that a cut video is all of its source, from the media alone, without Waver's own plan.

The source is decoded a second time, by PyAV. A frame is identified by the number in its pixels,
audio by its samples and the times of its beeps.
"""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from infra.zoo.inputs import Cut
from infra.zoo.sources import BITS_IN_A_ROW, NUM_BITS
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.wav import read_audio
from tasks.media.ffmpeg import input_url

MAX_SEGMENT_MS = 5_000
_SAMPLES_PER_MS = AUDIO_SAMPLE_RATE // 1000
_MAX_SAMPLES = MAX_SEGMENT_MS * _SAMPLES_PER_MS
_LOUD = 6_000  # of 32,767; a beep reaches 26,000, half of it when a channel is silent
_HOLD_SLACK = 0.1  # seconds between repeats of a frame that stands still
_TIME_SLACK = 0.0015  # Matroska counts in milliseconds
_EVEN_SLACK = 0.002
_GRID = 64
_ROW = _GRID // 4
_COLUMN = _GRID // BITS_IN_A_ROW
_GRAY = 127

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSegment:
    """A written segment: its files, and its times and counts as the stage recorded them.

    Video without frames of its own holds the frame before it, which stands still.
    """

    start_ms: int
    end_ms: int
    num_frames: int
    num_samples: int
    video_path: Path | None
    audio_path: Path | None


def numbered_frames(path: Path, stream: int = 0, turns: int = 0) -> list[tuple[float, int]]:
    """Decode a video stream: the time of each frame in seconds, and the number in its pixels."""
    reduce = VideoReformatter().reformat  # one for all frames: creating one is most of the cost
    with av.open(str(path)) as container:
        return sorted(
            (float(frame.time or 0), _number_in(reduce(frame, _GRID, _GRID, "gray"), turns))
            for frame in container.decode(video=stream)
        )


def _number_in(frame: av.VideoFrame, turns: int) -> int:
    stored = np.rot90(frame.to_ndarray(), turns)
    boxes = stored.reshape(4, _ROW, BITS_IN_A_ROW, _COLUMN)[:2, 4:-4, :, 2:-2]
    bits = boxes.mean(axis=(1, 3)).ravel() > _GRAY
    return int(bits @ (1 << np.arange(NUM_BITS)))


def beeps_in(samples: Samples) -> list[float]:
    """Return when each stretch of loud audio starts, in seconds."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > _LOUD)
    starts = [n for k, n in enumerate(loud) if k == 0 or n - loud[k - 1] > AUDIO_SAMPLE_RATE // 4]
    return [float(n / AUDIO_SAMPLE_RATE) for n in starts]


def faults_of(path: Path, segments: Sequence[WrittenSegment], expected: Cut) -> Iterator[str]:
    """Yield every deviation from the expected outcome; nothing if the cut is exact."""
    source, written = [], []
    if expected.video_stream is not None:
        source = numbered_frames(path, expected.video_stream)
        videos = [segment for segment in segments if segment.video_path]
        written = [
            numbered_frames(segment.video_path, 0, expected.turns)
            for segment in videos
            if segment.video_path
        ]
        yield from _faults_of_held(videos, written)
        written = [
            frames if segment.num_frames else []
            for segment, frames in zip(videos, written, strict=True)
        ]
        yield from _faults_of_frames(source, written)
        yield from _faults_of_counts(source, segments, written)
    elif any(segment.video_path for segment in segments):
        yield "there is video where the source has none"
    yield from faults_of_times(segments)
    if expected.beeps is None:
        if any(segment.audio_path for segment in segments):
            yield "there is audio where the source has none"
        return
    first_time = source[0][0] if source else _origin(path)
    yield from _faults_of_audio(path, segments, expected, first_time)


def _faults_of_held(
    segments: Sequence[WrittenSegment], written: list[list[tuple[float, int]]]
) -> Iterator[str]:
    on_screen = None
    for segment, frames in zip(segments, written, strict=True):
        times, numbers = [time for time, _ in frames], [number for _, number in frames]
        if not segment.num_frames:
            length = (segment.end_ms - segment.start_ms) / 1000
            if set(numbers) != {on_screen}:
                yield f"a segment shows frames {sorted(set(numbers))} where {on_screen} is held"
            elif times[0] != 0 or not length - _HOLD_SLACK <= times[-1] <= length:
                yield f"a frame is held from {times[0]:.2f} to {times[-1]:.2f} of {length:.2f} s"
        on_screen = numbers[-1] if numbers else None


def _faults_of_frames(
    source: list[tuple[float, int]], written: list[list[tuple[float, int]]]
) -> Iterator[str]:
    expected = [number for _, number in source]
    found = [number for frames in written for _, number in frames]
    if any(a >= b for a, b in pairwise(expected)):
        yield f"the source's own frames are not in order: {expected[:20]}"
    if found != expected:
        lost, doubled = set(expected) - set(found), len(found) - len(set(found))
        yield f"{len(found)} frames of {len(expected)}: {len(lost)} lost, {doubled} doubled"
        return
    first = 0
    for index, frames in enumerate(written):
        if not frames:
            continue
        started = source[first][0]
        times = [time - started for time, _ in source[first : first + len(frames)]]
        off = max(abs(a - b) for a, (b, _) in zip(times, frames, strict=True))
        if off > _TIME_SLACK:
            yield f"segment {index}: a frame is shown {off * 1000:.1f} ms off its time"
        first += len(frames)


def _faults_of_counts(
    source: list[tuple[float, int]],
    segments: Sequence[WrittenSegment],
    written: list[list[tuple[float, int]]],
) -> Iterator[str]:
    counts = [len(frames) for frames in written]
    recorded = [segment.num_frames for segment in segments if segment.video_path]
    if counts != recorded:
        yield f"recorded frame counts are {recorded}, decoded are {counts}"
    gaps = np.diff([time for time, _ in source])
    if len(gaps) and np.ptp(gaps) < _EVEN_SLACK and max(counts) - min(counts) > 1:
        yield f"a stub: segments of {counts} frames"


def faults_of_times(segments: Sequence[WrittenSegment]) -> Iterator[str]:
    """Yield segments that are too long, apart in time, or stubs."""
    lengths_ms = [segment.end_ms - segment.start_ms for segment in segments]
    if max(lengths_ms) > MAX_SEGMENT_MS:
        yield "a segment is too long"
    ends = [0, *(segment.end_ms for segment in segments)]
    if [segment.start_ms for segment in segments] != ends[:-1]:
        yield "segments are not neighbors in time"
    is_audio_only = all(segment.video_path is None for segment in segments)
    if is_audio_only and max(lengths_ms) - min(lengths_ms) > 1:
        yield f"a stub: segments of {lengths_ms} ms"


def _faults_of_audio(
    path: Path, segments: Sequence[WrittenSegment], expected: Cut, first_time: float
) -> Iterator[str]:
    whole, is_written = _joined_audio(segments)
    if [len(read_audio(s.audio_path)) for s in segments if s.audio_path] != [
        s.num_samples for s in segments if s.audio_path
    ]:
        yield "recorded and written sample counts differ"
    if max((s.num_samples for s in segments), default=0) > _MAX_SAMPLES:
        yield "an audio file is too long"
    if not expected.is_joined:
        track = _track(path, expected.audio_stream, first_time, len(whole))
        if not np.array_equal(whole[is_written], track[is_written]):
            yield "the samples are not those of the track"
    found, beeps = beeps_in(whole), expected.beeps or ()
    off = [abs(a - b) > expected.exact_seconds for a, b in zip(found, beeps, strict=False)]
    if len(found) != len(beeps) or any(off):
        yield f"beeps are at {found}, expected at {list(beeps)}"


def _joined_audio(
    segments: Sequence[WrittenSegment],
) -> tuple[Samples, npt.NDArray[np.bool_]]:
    """Join the segments' audio at their times; also return which samples a file contains."""
    longest = max(s.end_ms * _SAMPLES_PER_MS + s.num_samples for s in segments)
    whole = np.zeros(longest + 2 * _MAX_SAMPLES, np.int16)
    is_written = np.zeros(len(whole), np.bool_)
    end = 0
    for segment in segments:
        if segment.audio_path is None:
            continue
        samples = read_audio(segment.audio_path)
        start = max(0, segment.start_ms) * _SAMPLES_PER_MS
        start = end if abs(start - end) <= _SAMPLES_PER_MS else start
        end = start + len(samples)
        whole[start:end], is_written[start:end] = samples, True
    return whole[:end], is_written[:end]


def _track(path: Path, stream: int, first_time: float, num_samples: int) -> Samples:
    """Decode a whole audio track: its samples from the time of the first frame on, then silence."""
    origin = _origin(path)
    last = first_time - origin + num_samples / AUDIO_SAMPLE_RATE + 1
    command = [
        "ffmpeg", "-v", "error", "-i", input_url(path), "-map", f"0:a:{stream}",
        "-af",
        f"atrim=end={last},aformat=s16:{AUDIO_SAMPLE_RATE}:mono,aresample=async=1:first_pts=0",
        "-f", "s16le", "-",
    ]  # fmt: skip
    samples = np.frombuffer(_output_of(command), np.int16)[
        round((first_time - origin) * AUDIO_SAMPLE_RATE) :
    ]
    return np.pad(samples, (0, max(0, num_samples - len(samples))))[:num_samples]


def _origin(path: Path) -> float:
    """Read when a container's clock starts, by the same libraries that decode its audio."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=start_time", "-of", "csv=p=0"]
    return float(_output_of([*command, input_url(path)]))


def _output_of(command: Sequence[str]) -> bytes:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=200
    ).stdout
