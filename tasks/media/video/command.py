"""Build the ffmpeg calls that cut a video: inputs, filters and output names.

Boundaries are frame numbers: time-based cutting rounds to the encoder's time base and silently
skips boundaries. If frames change size or pixel format, ffmpeg starts the filters again: none of
them may depend on earlier frames, except the one that drops frames for the hash.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ffmpeg

from tasks.media.ffmpeg import compile_command, follow_clock, open_input
from tasks.media.perceptual_hash import VIDEO_HASH_RATE, VIDEO_HASH_SIZE
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia
from tasks.media.video.frame_times import VIDEO_TIME_BASE
from tasks.media.video.quality import LUMA_RATE, LUMA_SIZE

GRAY_NAME = "gray.raw"
LUMA_NAME = "luma.raw"
LIST_NAME = "parts.csv"
HOLD_RATE = 10  # frames per second of a segment that repeats one frame

_PART_NAME = "part-%05d.mp4"
_MAX_TERMS = 16


def video_name(index: int) -> str:
    """Return the name of a segment's video file."""
    return f"{index:04d}.mp4"


def part_name(number: int) -> str:
    """Return the name of the file that a call writes between two of its boundaries."""
    return _PART_NAME % number


def rename_parts(segments: Sequence[PlannedSegment], folder: Path) -> None:
    """Name the parts that one call numbered after the segments they are."""
    for number, segment in enumerate(segments):
        part = folder / part_name(number)
        if part.exists():
            part.rename(folder / video_name(segment.index))


def cut_command(
    source: SourceMedia, first_frames: Sequence[int], *, size: tuple[int, int], crf: int
) -> list[str]:
    """Build the call that writes a file from each of ``first_frames`` on, and small gray frames.

    Frames are scaled to fit ``size`` (width, height). Output names are relative to the folder that
    the call runs in.
    """
    file = open_input(source.path)
    video = _scaled_video(file[f"v:{source.video_stream}"], source.start_time, size)
    copies = video.filter_multi_output("split", 3)
    outputs = [
        _parts_output(
            copies[0], first_frames, crf, segment_list=LIST_NAME, segment_list_type="csv"
        ),
        _gray_output(copies[1], GRAY_NAME, VIDEO_HASH_SIZE, VIDEO_HASH_RATE),
        _gray_output(copies[2], LUMA_NAME, LUMA_SIZE, LUMA_RATE),
    ]
    if source.audio_stream is not None:
        outputs.append(follow_clock(file[f"a:{source.audio_stream}"]))
    return compile_command(ffmpeg.merge_outputs(*outputs))


def hold_command(name: str, frame: int, num_frames: Sequence[int], *, crf: int) -> list[str]:
    """Build the call that writes files of ``num_frames`` repeats of one frame of a written file."""
    total = sum(num_frames)
    held = (
        ffmpeg.input(f"file:{name}")["v:0"]
        .filter("select", f"eq(n,{frame})")
        .filter("loop", loop=total - 1, size=1)
        .filter("setpts", f"N/{HOLD_RATE}/TB")
    )
    first_frames = [sum(num_frames[:k]) for k in range(len(num_frames))]
    return compile_command(_parts_output(held, first_frames, crf))


def _scaled_video(video: Any, start_time: float, size: tuple[int, int]) -> Any:
    """Scale to fit ``size`` with square pixels; bars fill up frames of another aspect ratio.

    A side may be a pixel off the aspect ratio, since sizes are even: no bar makes up for that.
    """
    width, height = size
    scale = f"min({width + 1}/(iw*sar),{height + 1}/ih)"
    return (
        video.filter("setpts", f"PTS-round({start_time:.9f}/TB)")
        .filter(
            "scale",
            w=f"min({width},2*round(iw*sar*{scale}/2))",
            h=f"min({height},2*round(ih*{scale}/2))",
            flags="area",
        )
        .filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2")
        .filter("setsar", 1)
    )


def _parts_output(video: Any, first_frames: Sequence[int], crf: int, **options: str) -> Any:
    """Write one H.264 file per part, split before the given frames."""
    return ffmpeg.output(
        video, _PART_NAME, f="segment", reset_timestamps=1, vcodec="libx264",
        preset="veryfast", crf=crf, bf=0, pix_fmt="yuv420p", fps_mode="passthrough",
        threads=1, enc_time_base=VIDEO_TIME_BASE, **_boundaries(first_frames[1:]), **options,
    )  # fmt: skip


def _boundaries(starts: Sequence[int]) -> dict[str, str | int]:
    """Force a key frame and a new file at every part's first frame."""
    if not starts:
        return {"segment_time": 1_000_000}
    return {
        "segment_frames": ",".join(map(str, starts)),
        "force_key_frames": f"expr:{_is_one_of(starts)}",
    }


def _is_one_of(starts: Sequence[int]) -> str:
    """Build an expression that is true for frames ``n`` in ``starts``, by bisection.

    ffmpeg rejects a plain sum of 100 terms.
    """
    if len(starts) <= _MAX_TERMS:
        return "+".join(f"eq(n,{start})" for start in starts)
    half = len(starts) // 2
    before, after = _is_one_of(starts[:half]), _is_one_of(starts[half:])
    return f"if(lt(n,{starts[half]}),{before},{after})"


def _gray_output(video: Any, name: str, size: tuple[int, int], rate: int) -> Any:
    """Write small frames at a constant rate from the first frame.

    The output's own constant rate repeats frames that the filter drops when it starts again.
    """
    width, height = size
    small = video.filter("fps", rate).filter("scale", width, height, flags="area")
    return ffmpeg.output(small, name, f="rawvideo", pix_fmt="gray", fps_mode="cfr", r=rate)
