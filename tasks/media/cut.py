"""Cutting one video in one ffmpeg call: command, run, and the check of what came out.

Boundaries are given as frame NUMBERS: time-based cutting rounds to the encoder's time base and
silently skips boundaries. ffmpeg's exit status proves nothing, so the written files are read again.
"""

import errno
import os
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
import numpy.typing as npt

from storage.errors import FramesFault, ItemFault, ToolError
from tasks.child import ChildLimits, ChildResult, run_tool
from tasks.media.frames import check_not_killed, input_url, last_cause, memory_reason
from tasks.media.plan import SAMPLE_RATE, PlannedSegment
from tasks.media.prints import PICTURE_RATE, PICTURE_SIZE, Prints, prints_of
from tasks.media.probe import SourceMedia

_PICTURE_NAME = "%04d.mp4"
_SOUND_NAME = "sound.wav"
_GREY_NAME = "grey.raw"
# Fine enough for any source: by default ffmpeg rounds frames to its guess of the source's rate.
_PICTURE_TICK = "1/90000"
_SOUND_TOLERANCE_SECONDS = 0.5
# A sound may claim to begin or to go on days later: silence up to there would fill the disk.
_SOUND_BEYOND_SECONDS = 60.0
_QUIET = ("-hide_banner", "-loglevel", "error")
# Videos are cut side by side, one on each core: threads within one cost a tenth more in all.
_ONE_THREAD = ("-filter_complex_threads", "1")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutReport:
    """What ffmpeg complained of (lines, and the last of them), and how the sound's length fits.

    ``prints`` tell what the whole video looks and sounds like.
    """

    num_errors: int
    cause: str
    warnings: tuple[str, ...]
    prints: Prints


def picture_name(index: int) -> str:
    """Name the picture file of a segment."""
    return _PICTURE_NAME % index


def sound_name(index: int) -> str:
    """Name the sound file of a segment."""
    return f"{index:04d}.wav"


def cut_command(
    source: SourceMedia, plan: Sequence[PlannedSegment], *, long_side: int, crf: int
) -> list[str]:
    """Build the one ffmpeg call that writes segments' pictures, the whole sound and small frames.

    Output names are relative: run it in the folder the files shall lie in.
    """
    media = ffmpeg.input(input_url(source.path), err_detect="ignore_err", threads=1)
    scale = f"min(1,{long_side}/max(iw*sar,ih))"
    picture = (
        media[f"v:{source.picture_stream}"]
        .filter("setpts", "PTS-STARTPTS")
        .filter("scale", w=f"2*round(iw*sar*{scale}/2)", h=f"2*round(ih*{scale}/2)", flags="area")
        .filter("setsar", 1)
        .split()
    )
    outputs = [_segments_output(picture[0], plan, crf), _grey_output(picture[1])]
    if source.sound_stream is not None:
        sound = media[f"a:{source.sound_stream}"].filter(
            "aresample", **{"async": 1, "first_pts": 0}
        )
        last = source.end_time + _SOUND_BEYOND_SECONDS
        outputs.append(
            ffmpeg.output(
                sound, _SOUND_NAME, ac=1, ar=SAMPLE_RATE, acodec="pcm_s16le", t=f"{last:.3f}"
            )
        )
    merged = ffmpeg.merge_outputs(*outputs).global_args(*_QUIET, *_ONE_THREAD)
    return list(merged.compile(overwrite_output=True))


def _segments_output(picture: Any, plan: Sequence[PlannedSegment], crf: int) -> Any:
    """Write every segment's picture, cut before the planned frames."""
    starts = [segment.first_frame for segment in plan[1:]]
    bounds = (
        {
            "segment_frames": ",".join(map(str, starts)),
            "force_key_frames": "expr:" + "+".join(f"eq(n,{n})" for n in starts),
        }
        if starts
        else {"segment_time": 1_000_000}
    )
    return ffmpeg.output(
        picture, _PICTURE_NAME, f="segment", reset_timestamps=1, vcodec="libx264",
        preset="veryfast", crf=crf, bf=0, pix_fmt="yuv420p", fps_mode="passthrough",
        threads=1, enc_time_base=_PICTURE_TICK, **bounds,
    )  # fmt: skip


def _grey_output(picture: Any) -> Any:
    """Write the few small frames that a print is made of, at a steady rate from the first frame."""
    width, height = PICTURE_SIZE
    small = picture.filter("fps", PICTURE_RATE, start_time=0).filter(
        "scale", width, height, flags="area"
    )
    return ffmpeg.output(small, _GREY_NAME, f="rawvideo", pix_fmt="gray", fps_mode="passthrough")


def cut(
    source: SourceMedia,
    plan: Sequence[PlannedSegment],
    folder: Path,
    *,
    long_side: int,
    crf: int,
    limits: ChildLimits,
) -> CutReport:
    """Write all segments of a video into an empty ``folder``.

    Raises:
        FramesFault: the decoder gave other frames than the source lists.
        ItemFault: the decoder hung.
        StageError: ffmpeg was killed.
        ToolError: ffmpeg is not installed, or lacks the encoder.
        OSError: the folder's disk is full.
    """
    command = cut_command(source, plan, long_side=long_side, crf=crf)
    result = run_tool(command, limits=limits, folder=folder)
    if result.timed_out:
        raise ItemFault(f"decoding did not end within {limits.seconds:.0f} s and was stopped")
    _check_machine(result, folder)
    cause = memory_reason(limits) if result.out_of_memory else last_cause(result)
    _check_pictures(plan, folder, cause)
    grey = _read_grey(folder / _GREY_NAME)
    sound = _read_whole_sound(source, folder)
    return CutReport(
        num_errors=result.num_stderr_lines,
        cause=cause,
        warnings=(
            _slice_sound(source, plan, sound, folder) if source.sound_stream is not None else ()
        ),
        prints=prints_of(grey, sound[: plan[-1].end_sample]),
    )


def _check_machine(result: ChildResult, folder: Path) -> None:
    """Keep a machine's trouble from being written down as the video's."""
    told = "\n".join(result.stderr_tail)
    for number in _NO_SPACE:
        if f": {os.strerror(number)}" in told:
            raise OSError(number, os.strerror(number), str(folder))
    if "Unknown encoder" in told:
        raise ToolError(
            f"This ffmpeg cannot write H.264 ({last_cause(result)}): install a full build "
            "(on Debian or Ubuntu: apt-get install ffmpeg) and run again."
        )
    check_not_killed("ffmpeg", result)


def _check_pictures(plan: Sequence[PlannedSegment], folder: Path, cause: str) -> None:
    written = [count_frames(folder / picture_name(segment.index)) for segment in plan]
    wanted = [segment.num_frames for segment in plan]
    if written != wanted:
        told = f" (ffmpeg: {cause})" if cause else ""
        raise FramesFault(
            f"damaged: {sum(written)} of {sum(wanted)} frames could be decoded into "
            f"{sum(count > 0 for count in written)} of {len(plan)} segments{told}"
        )


def count_frames(path: Path) -> int:
    """Count the frames of a written segment; 0 if it is not there or cannot be read."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    try:
        with av.open(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(video=0))
    except av.FFmpegError:
        return 0


def _read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Take in the small frames [frames, height, width]; nothing of them stays in the folder."""
    width, height = PICTURE_SIZE
    dots = np.fromfile(path, np.uint8)
    path.unlink()
    return dots[: len(dots) // (width * height) * width * height].reshape(-1, height, width)


def _read_whole_sound(source: SourceMedia, folder: Path) -> npt.NDArray[np.int16]:
    """Take in the whole sound, laid onto the video's clock; nothing of it stays in the folder."""
    whole = read_sound(folder / _SOUND_NAME)
    (folder / _SOUND_NAME).unlink(missing_ok=True)
    offset = round(source.start_time * SAMPLE_RATE) if source.sound_stream is not None else 0
    return whole[offset:] if offset >= 0 else np.pad(whole, (-offset, 0))


def _slice_sound(
    source: SourceMedia,
    plan: Sequence[PlannedSegment],
    whole: npt.NDArray[np.int16],
    folder: Path,
) -> tuple[str, ...]:
    """Slice the whole sound at the segments' boundaries."""
    difference = len(whole) / SAMPLE_RATE - source.duration_seconds
    whole = np.pad(whole, (0, max(0, plan[-1].end_sample - len(whole))))
    for segment in plan:
        samples = whole[segment.first_sample : segment.end_sample]
        write_sound(folder / sound_name(segment.index), samples)
    if abs(difference) <= _SOUND_TOLERANCE_SECONDS:
        return ()
    if difference >= _SOUND_BEYOND_SECONDS - _SOUND_TOLERANCE_SECONDS:
        return ("the sound is a minute or more longer than the picture",)
    longer = "longer" if difference > 0 else "shorter"
    return (f"the sound is {abs(difference):.2f} s {longer} than the picture",)


def read_sound(path: Path) -> npt.NDArray[np.int16]:
    """Read a 16-bit mono WAV file's samples; an absent file is no sound."""
    if not path.exists():
        return np.zeros(0, np.int16)
    with wave.open(str(path), "rb") as stream:
        return np.frombuffer(stream.readframes(stream.getnframes()), np.int16)


def write_sound(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Write 16 kHz mono samples as a 16-bit WAV file."""
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))
        stream.writeframes(samples.tobytes())
