"""Build the ffmpeg call that cuts a video: inputs, filters and output names.

Boundaries are frame numbers: time-based cutting rounds to the encoder's time base and silently
skips boundaries.
"""

from collections.abc import Sequence
from typing import Any

import ffmpeg

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.ffmpeg import input_url
from tasks.media.perceptual_hash import VIDEO_HASH_RATE, VIDEO_HASH_SIZE
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia

AUDIO_NAME = "audio.wav"
GRAY_NAME = "gray.raw"
# Audio timestamps may be days after the video: the silence up to them would fill the disk.
AUDIO_BEYOND_SECONDS = 60.0

_VIDEO_NAME = "%04d.mp4"
# Fine enough for any source: by default ffmpeg rounds frames to its guess of the source's rate.
_VIDEO_TIME_BASE = "1/90000"
_MAX_TERMS = 16
_QUIET = ("-hide_banner", "-loglevel", "error")
# One video is cut per core: threads within one video cost a tenth more CPU time in total.
_ONE_THREAD = ("-filter_complex_threads", "1")


def video_name(index: int) -> str:
    """Return the name of a segment's video file."""
    return _VIDEO_NAME % index


def audio_name(index: int) -> str:
    """Return the name of a segment's audio file."""
    return f"{index:04d}.wav"


def cut_command(
    source: SourceMedia, plan: Sequence[PlannedSegment], *, long_side: int, crf: int
) -> list[str]:
    """Build the call that writes the segments' videos, the whole audio and small gray frames.

    Output names are relative to the folder that the call runs in.
    """
    media = ffmpeg.input(input_url(source.path), err_detect="ignore_err", threads=1)
    video = _scaled_video(media[f"v:{source.video_stream}"], long_side).split()
    outputs = [_segments_output(video[0], plan, crf), _gray_output(video[1])]
    if source.audio_stream is not None:
        outputs.append(_audio_output(media[f"a:{source.audio_stream}"], source.end_time))
    return _command(ffmpeg.merge_outputs(*outputs))


def audio_command(source: SourceMedia) -> list[str]:
    """Build the call that writes the whole audio of a file without video."""
    media = ffmpeg.input(input_url(source.path), err_detect="ignore_err", threads=1)
    return _command(_audio_output(media[f"a:{source.audio_stream}"], source.end_time))


def _command(output: Any) -> list[str]:
    return list(output.global_args(*_QUIET, *_ONE_THREAD).compile(overwrite_output=True))


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


def _audio_output(track: Any, end_time: float) -> Any:
    """Write the whole audio as one continuous stream on the container's clock.

    Gaps are filled after resampling to mono: ffmpeg buffers the silence of a whole gap in memory,
    32 kB per second.
    """
    audio = (
        track.filter("atrim", end=f"{end_time + AUDIO_BEYOND_SECONDS:.3f}")
        .filter("aformat", "s16", AUDIO_SAMPLE_RATE, "mono")
        .filter("aresample", **{"async": 1, "first_pts": 0})
    )
    return ffmpeg.output(audio, AUDIO_NAME, acodec="pcm_s16le")
