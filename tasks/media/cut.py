"""Cutting one video in one ffmpeg call: the run, and the check of what came out.

ffmpeg's exit status proves nothing, so the written files are read again.
"""

import errno
import os
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from storage.errors import FramesFault, ItemFault, ToolError
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.command import (
    AUDIO_BEYOND_SECONDS,
    AUDIO_NAME,
    GREY_NAME,
    audio_command,
    audio_name,
    cut_command,
    video_name,
)
from tasks.media.frame_times import check_not_killed, last_cause, memory_reason
from tasks.media.perceptual_hash import VIDEO_HASH_SIZE, MediaHashes, hashes_of
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia
from tasks.processes.tool import ToolLimits, ToolResult, run_tool

_AUDIO_TOLERANCE_SECONDS = 0.5
_LONGEST_ARGUMENT = 120_000  # bytes; Linux allows 128 KiB
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutReport:
    """What ffmpeg complained of (lines, and the last of them), and how the sound's length fits.

    ``prints`` tell what the whole video looks and sounds like.
    """

    num_errors: int
    cause: str
    warnings: tuple[str, ...]
    hashes: MediaHashes


def cut(
    source: SourceMedia,
    plan: Sequence[PlannedSegment],
    folder: Path,
    *,
    long_side: int,
    crf: int,
    limits: ToolLimits,
) -> CutReport:
    """Write all segments of a video into an empty ``folder``.

    Raises:
        FramesFault: the decoder gave other frames than the source lists.
        ItemFault: the decoder hung, or there are too many segments for one call.
        StageError: ffmpeg was killed.
        ToolError: ffmpeg is not installed, or lacks the encoder.
        OSError: the folder's disk is full.
    """
    command = cut_command(source, plan, long_side=long_side, crf=crf)
    if max(map(len, command)) > _LONGEST_ARGUMENT:
        raise ItemFault(f"too long for one ffmpeg call ({len(plan)} segments): cut it in parts")
    result, cause = _run(command, folder, limits)
    _check_videos(plan, folder, cause)
    grey = _read_grey(folder / GREY_NAME)
    audio = _read_whole_audio(source, folder)
    return CutReport(
        num_errors=result.num_stderr_lines,
        cause=cause,
        warnings=(
            _lay_audio(source, plan, audio, folder) if source.audio_stream is not None else ()
        ),
        hashes=hashes_of(grey, audio[: plan[-1].end_sample]),
    )


def cut_audio(
    source: SourceMedia,
    plan_for: Callable[[int], Sequence[PlannedSegment]],
    folder: Path,
    *,
    limits: ToolLimits,
) -> tuple[tuple[PlannedSegment, ...], CutReport]:
    """Write all segments of a file without picture, planned for the number of its samples.

    Raises:
        ItemFault: the decoder hung, or gave no sound.
        StageError: ffmpeg was killed.
        ToolError: ffmpeg is not installed.
        OSError: the folder's disk is full.
    """
    result, cause = _run(audio_command(source), folder, limits)
    audio = _read_whole_audio(source, folder)
    if not len(audio):
        raise ItemFault(f"damaged: nothing of its sound decodes (ffmpeg: {cause or 'no cause'})")
    plan = tuple(plan_for(len(audio)))
    _slice_audio(plan, audio, folder)
    nothing_seen = np.zeros((0, *reversed(VIDEO_HASH_SIZE)), np.uint8)
    return plan, CutReport(
        num_errors=result.num_stderr_lines,
        cause=cause,
        warnings=(),
        hashes=hashes_of(nothing_seen, audio),
    )


def _run(command: list[str], folder: Path, limits: ToolLimits) -> tuple[ToolResult, str]:
    """Run ffmpeg in a folder; gives what came of it, and what it complained of last."""
    result = run_tool(command, limits=limits, folder=folder)
    if result.timed_out:
        raise ItemFault(f"decoding did not end within {limits.seconds:.0f} s and was stopped")
    _check_host(result, folder)
    return result, memory_reason(limits) if result.out_of_memory else last_cause(result)


def _check_host(result: ToolResult, folder: Path) -> None:
    """Keep a machine's trouble from being written down as the video's."""
    message = "\n".join(result.stderr_tail)
    for number in _NO_SPACE:
        if f": {os.strerror(number)}" in message:
            raise OSError(number, os.strerror(number), str(folder))
    if "Unknown encoder" in message:
        raise ToolError(
            f"This ffmpeg cannot write H.264 ({last_cause(result)}): install a full build "
            "(on Debian or Ubuntu: apt-get install ffmpeg) and run again."
        )
    check_not_killed("ffmpeg", result)


def _check_videos(plan: Sequence[PlannedSegment], folder: Path, cause: str) -> None:
    written = [count_frames(folder / video_name(segment.index)) for segment in plan]
    expected = [segment.num_frames for segment in plan]
    if written != expected:
        message = f" (ffmpeg: {cause})" if cause else ""
        raise FramesFault(
            f"damaged: {sum(written)} of {sum(expected)} frames could be decoded into "
            f"{sum(count > 0 for count in written)} of {len(plan)} segments{message}"
        )


def count_frames(path: Path) -> int:
    """Count the frames of a written segment; 0 if it is not there or cannot be read."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    try:
        with av.open(str(path)) as container:
            videos = container.streams.video
            return sum(packet.size > 0 for packet in container.demux(videos)) if videos else 0
    except av.FFmpegError:
        return 0


def _read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Take in the small frames [frames, height, width]; nothing of them stays in the folder."""
    width, height = VIDEO_HASH_SIZE
    dots = np.fromfile(path, np.uint8)
    path.unlink()
    return dots[: len(dots) // (width * height) * width * height].reshape(-1, height, width)


def _read_whole_audio(source: SourceMedia, folder: Path) -> npt.NDArray[np.int16]:
    """Take in the whole sound, laid onto the video's clock; nothing of it stays in the folder."""
    whole = read_audio(folder / AUDIO_NAME)
    (folder / AUDIO_NAME).unlink(missing_ok=True)
    offset = round(source.start_time * AUDIO_SAMPLE_RATE) if source.audio_stream is not None else 0
    return whole[offset:] if offset >= 0 else np.pad(whole, (-offset, 0))


def _lay_audio(
    source: SourceMedia,
    plan: Sequence[PlannedSegment],
    whole: npt.NDArray[np.int16],
    folder: Path,
) -> tuple[str, ...]:
    """Slice the whole sound, made as long as the picture; gives what to say of its length."""
    difference = len(whole) / AUDIO_SAMPLE_RATE - source.duration_seconds
    whole = np.pad(whole, (0, max(0, plan[-1].end_sample - len(whole))))
    _slice_audio(plan, whole, folder)
    if abs(difference) <= _AUDIO_TOLERANCE_SECONDS:
        return ()
    if difference >= AUDIO_BEYOND_SECONDS - _AUDIO_TOLERANCE_SECONDS:
        return ("the sound is a minute or more longer than the picture",)
    longer = "longer" if difference > 0 else "shorter"
    return (f"the sound is {abs(difference):.2f} s {longer} than the picture",)


def _slice_audio(
    plan: Sequence[PlannedSegment], whole: npt.NDArray[np.int16], folder: Path
) -> None:
    """Write each segment's part of the whole sound."""
    for segment in plan:
        samples = whole[segment.first_sample : segment.end_sample]
        write_audio(folder / audio_name(segment.index), samples)


def read_audio(path: Path) -> npt.NDArray[np.int16]:
    """Read a 16-bit mono WAV file's samples; an absent file is no sound."""
    if not path.exists():
        return np.zeros(0, np.int16)
    with wave.open(str(path), "rb") as stream:
        return np.frombuffer(stream.readframes(stream.getnframes()), np.int16)


def write_audio(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Write 16 kHz mono samples as a 16-bit WAV file."""
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, AUDIO_SAMPLE_RATE, 0, "NONE", "not compressed"))
        stream.writeframes(samples.tobytes())
