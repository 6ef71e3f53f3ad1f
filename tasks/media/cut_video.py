"""Cutting a video of which a part may be lost or spoilt: how much is too much, and what is told."""

from dataclasses import dataclass
from pathlib import Path

from storage.errors import FramesFault, ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.cut import CutReport, cut, cut_audio
from tasks.media.frame_times import Frames, decode_frames, memory_reason
from tasks.media.perceptual_hash import MediaHashes
from tasks.media.plan import PlannedSegment, plan_audio, plan_segments
from tasks.media.probe import SourceMedia, probe
from tasks.processes.tool import ToolLimits

_PROBE_SECONDS = 120
_NO_VIDEO = "the file has no picture, only sound"
_TOLD_SECONDS = 0.5
_PADDING_SECONDS = 0.25  # what encoders fill a sound's first and last packet with, at 8 kHz
_LINES_PER_FRAME = 2  # a decoder says of a spoilt frame where it broke, then what it concealed


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRules:
    """How to cut: the settings of the segment stage, and one video's ``cut_points_ms`` to cut at."""

    max_segment_ms: int
    long_side: int
    crf: int
    min_decoded_fraction: float
    cut_points_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CutVideo:
    """A video whose segments lie in a folder, its prints, and what was noticed about it."""

    source: SourceMedia
    plan: tuple[PlannedSegment, ...]
    warnings: tuple[str, ...]
    hashes: MediaHashes


def cut_what_decodes(path: Path, folder: Path, rules: CutRules, memory_mb: int) -> CutVideo:
    """Cut a video into an empty ``folder``; where frames do not decode, cut the ones that do.

    A file of sound alone is cut by its sound. ``memory_mb`` is what one ffmpeg or ffprobe may take,
    in MiB.

    Raises:
        ItemFault: not a video, or less than ``min_decoded_fraction`` of it is left.
        ToolError: ffmpeg or ffprobe is not installed.
    """
    source = probe(path, limits=ToolLimits(seconds=_PROBE_SECONDS, memory_mb=memory_mb))
    warnings = _check_length(source, rules.min_decoded_fraction)
    limits = ToolLimits(seconds=60 + 10 * source.duration_seconds, memory_mb=memory_mb)
    if source.video_stream is None:
        return _cut_audio_alone(source, folder, rules, limits, warnings)
    try:
        plan, report = _cut(source, folder, rules, limits)
        if not report.num_errors:
            return _cut_video(source, plan, warnings, report)
        fault = None
    except FramesFault as error:
        fault = error
    decoded = decode_frames(path, source.video_stream, source.origin, limits=limits)
    warnings += _check_decoding(
        len(source.frame_times), decoded, rules.min_decoded_fraction, limits
    )
    if fault:
        if decoded.times == source.frame_times:
            raise fault
        for left in folder.iterdir():
            left.unlink()
        source = source.with_frames(decoded)
        plan, report = _cut(source, folder, rules, limits)
    if report.num_errors:
        warnings.append(f"ffmpeg reported {report.num_errors} errors, the last: {report.cause}")
    return _cut_video(source, plan, warnings, report)


def _cut_video(
    source: SourceMedia,
    plan: tuple[PlannedSegment, ...],
    warnings: list[str],
    report: CutReport,
) -> CutVideo:
    message = (*warnings, *report.warnings)
    return CutVideo(source=source, plan=plan, warnings=message, hashes=report.hashes)


def _cut(
    source: SourceMedia, folder: Path, rules: CutRules, limits: ToolLimits
) -> tuple[tuple[PlannedSegment, ...], CutReport]:
    plan = plan_segments(
        source.frame_times, source.end_time, rules.max_segment_ms, rules.cut_points_ms
    )
    report = cut(
        source,
        plan,
        folder,
        long_side=rules.long_side,
        crf=rules.crf,
        limits=limits,
    )
    return tuple(plan), report


def _cut_audio_alone(
    source: SourceMedia, folder: Path, rules: CutRules, limits: ToolLimits, warnings: list[str]
) -> CutVideo:
    """Cut a file without picture, if enough of its sound decodes.

    A decoder says in two lines at most what is wrong with a packet.
    """
    plan, report = cut_audio(
        source,
        lambda num_samples: plan_audio(num_samples, rules.max_segment_ms, rules.cut_points_ms),
        folder,
        limits=limits,
    )
    decoded, listed = plan[-1].end_sample / AUDIO_SAMPLE_RATE, source.duration_seconds
    lost = max(0.0, listed - decoded - _PADDING_SECONDS)
    spoilt = report.num_errors / _LINES_PER_FRAME
    message = f"{decoded:.2f} of {listed:.2f} s of sound decode"
    if report.num_errors:
        message += f", with {report.num_errors} errors (ffmpeg: {report.cause})"
    allowed = 1 - rules.min_decoded_fraction
    if lost > allowed * listed or spoilt > allowed * source.num_packets:
        raise ItemFault(f"damaged: {message}")
    damage = [message] if report.num_errors or lost > _TOLD_SECONDS else []
    return _cut_video(source, plan, [_NO_VIDEO, *warnings, *damage], report)


def _check_length(source: SourceMedia, min_fraction: float) -> list[str]:
    """Compare the stated length of the picture with the end of its frames, or of sound alone."""
    stated, found = source.stated_seconds, source.duration_seconds
    message = f"the file states {stated:.2f} s of picture, its frames end after {found:.2f} s"
    if source.video_stream is None:
        message = f"the file states {stated:.2f} s of sound, it ends after {found:.2f} s"
    if found < min_fraction * stated:
        raise ItemFault(f"truncated: {message}")
    return [message] if stated - found > _TOLD_SECONDS else []


def _check_decoding(
    num_listed: int, decoded: Frames, min_fraction: float, limits: ToolLimits
) -> list[str]:
    """Compare the frames listed with those that decode, and weigh the decoder's complaints."""
    lost = max(0, num_listed - len(decoded.times))
    spoilt = decoded.num_errors / _LINES_PER_FRAME
    message = f"{len(decoded.times)} of {num_listed} frames decode"
    if decoded.num_errors:
        message += f", with {decoded.num_errors} errors (ffmpeg: {decoded.cause})"
    if lost + spoilt > (1 - min_fraction) * num_listed:
        raise ItemFault(memory_reason(limits) if decoded.out_of_memory else f"damaged: {message}")
    return [message] if lost or decoded.num_errors else []
