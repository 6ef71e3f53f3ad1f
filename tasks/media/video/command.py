"""Build the ffmpeg call that cuts a video: inputs, filters and output names.

Boundaries are frame numbers: time-based cutting rounds to the encoder's time base and silently
skips boundaries.
"""

from collections.abc import Sequence
from typing import Any

import ffmpeg

from tasks.media.ffmpeg import compile_command, open_input
from tasks.media.perceptual_hash import VIDEO_HASH_RATE, VIDEO_HASH_SIZE
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia

GRAY_NAME = "gray.raw"

_VIDEO_NAME = "%04d.mp4"
# Fine enough for any source: by default ffmpeg rounds frames to its guess of the source's rate.
_VIDEO_TIME_BASE = "1/90000"
_MAX_TERMS = 16


def video_name(index: int) -> str:
    """Return the name of a segment's video file."""
    return _VIDEO_NAME % index


def cut_command(
    source: SourceMedia, plan: Sequence[PlannedSegment], *, long_side: int, crf: int
) -> list[str]:
    """Build the call that writes the segments' videos and small gray frames.

    Output names are relative to the folder that the call runs in.
    """
    stream = open_input(source.path)[f"v:{source.video_stream}"]
    video = _scaled_video(stream, long_side).split()
    outputs = (_segments_output(video[0], plan, crf), _gray_output(video[1]))
    return compile_command(ffmpeg.merge_outputs(*outputs))


def _scaled_video(video: Any, long_side: int) -> Any:
    """Scale down to ``long_side``, with even dimensions and square pixels."""
    scale = f"min(1,{long_side}/max(iw*sar,ih))"
    return (
        video.filter("setpts", "PTS-STARTPTS")
        .filter("scale", w=f"2*round(iw*sar*{scale}/2)", h=f"2*round(ih*{scale}/2)", flags="area")
        .filter("setsar", 1)
    )


def _segments_output(video: Any, plan: Sequence[PlannedSegment], crf: int) -> Any:
    """Write one H.264 file per segment, split before the planned frames."""
    return ffmpeg.output(
        video, _VIDEO_NAME, f="segment", reset_timestamps=1, vcodec="libx264",
        preset="veryfast", crf=crf, bf=0, pix_fmt="yuv420p", fps_mode="passthrough",
        threads=1, enc_time_base=_VIDEO_TIME_BASE, **_boundaries(plan),
    )  # fmt: skip


def _boundaries(plan: Sequence[PlannedSegment]) -> dict[str, str | int]:
    """Force a key frame and a new file at every segment's first frame."""
    starts = [segment.first_frame for segment in plan[1:]]
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


def _gray_output(video: Any) -> Any:
    """Write the small frames for the perceptual hash, at a constant rate from the first frame."""
    width, height = VIDEO_HASH_SIZE
    small = video.filter("fps", VIDEO_HASH_RATE, start_time=0).filter(
        "scale", width, height, flags="area"
    )
    return ffmpeg.output(small, GRAY_NAME, f="rawvideo", pix_fmt="gray", fps_mode="passthrough")
