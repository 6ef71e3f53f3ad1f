"""Cut one video, damaged or not, into segments: probe, plan, cut, verify."""

from dataclasses import dataclass
from pathlib import Path

from storage.errors import FramesFault
from tasks.media.cut import CutReport, cut, cut_audio
from tasks.media.frame_times import decode_frames
from tasks.media.perceptual_hash import MediaHashes
from tasks.media.plan import PlannedSegment, plan_audio, plan_segments
from tasks.media.probe import SourceMedia, probe
from tasks.media.verify import check_audio_decoding, check_decoding, check_length
from tasks.processes.tool import ToolLimits

_PROBE_SECONDS = 120
_NO_VIDEO = "the file has no video stream, only audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRules:
    """Settings of the segment stage, and the ``cut_points_ms`` of one video."""

    max_segment_ms: int
    long_side: int
    crf: int
    min_decoded_fraction: float
    cut_points_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CutVideo:
    """A video whose segments were written to a folder, with its perceptual hashes and warnings."""

    source: SourceMedia
    plan: tuple[PlannedSegment, ...]
    warnings: tuple[str, ...]
    hashes: MediaHashes


def cut_video(path: Path, folder: Path, rules: CutRules, memory_mb: int) -> CutVideo:
    """Cut a video into an empty ``folder``; of a damaged one, cut the frames that decode.

    A file without a video stream is cut by its audio. ``memory_mb`` limits each ffmpeg or ffprobe
    process, in MiB.

    Raises:
        ItemFault: not a video, or less than ``min_decoded_fraction`` of it decodes.
        ToolError: ffmpeg or ffprobe is not installed.
    """
    source = probe(path, limits=ToolLimits(seconds=_PROBE_SECONDS, memory_mb=memory_mb))
    warnings = check_length(source, rules.min_decoded_fraction)
    limits = ToolLimits(seconds=60 + 10 * source.duration_seconds, memory_mb=memory_mb)
    if source.video_stream is None:
        return _cut_audio_only(source, folder, rules, limits, warnings)
    try:
        plan, report = _cut(source, folder, rules, limits)
        if not report.num_errors:
            return _result(source, plan, warnings, report)
        fault = None
    except FramesFault as error:
        fault = error
    decoded = decode_frames(path, source.video_stream, source.origin, limits=limits)
    num_listed = len(source.frame_times)
    warnings += check_decoding(num_listed, decoded, rules.min_decoded_fraction, limits)
    if fault:
        if decoded.times == source.frame_times:
            raise fault
        for leftover in folder.iterdir():
            leftover.unlink()
        source = source.with_frame_times(decoded)
        plan, report = _cut(source, folder, rules, limits)
    if report.num_errors:
        warnings.append(f"ffmpeg reported {report.num_errors} errors, the last: {report.cause}")
    return _result(source, plan, warnings, report)


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


def _cut_audio_only(
    source: SourceMedia, folder: Path, rules: CutRules, limits: ToolLimits, warnings: list[str]
) -> CutVideo:
    plan, report = cut_audio(
        source,
        lambda num_samples: plan_audio(num_samples, rules.max_segment_ms, rules.cut_points_ms),
        folder,
        limits=limits,
    )
    damage = check_audio_decoding(
        source,
        plan[-1].end_sample,
        rules.min_decoded_fraction,
        report.num_errors,
        report.cause,
    )
    return _result(source, plan, [_NO_VIDEO, *warnings, *damage], report)


def _result(
    source: SourceMedia,
    plan: tuple[PlannedSegment, ...],
    warnings: list[str],
    report: CutReport,
) -> CutVideo:
    return CutVideo(
        source=source, plan=plan, warnings=(*warnings, *report.warnings), hashes=report.hashes
    )
