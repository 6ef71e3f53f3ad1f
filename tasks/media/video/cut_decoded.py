"""Cut the frames that decode: as the container lists them or, if others decode, those."""

from dataclasses import dataclass
from pathlib import Path

from storage.errors import FramesFault
from storage.media_records import VideoQuality
from tasks.media.plan import PlannedSegment, plan_segments
from tasks.media.probe import SourceMedia
from tasks.media.rules import CutRules
from tasks.media.video.cut import CutFrames, Gray, cut_frames
from tasks.media.video.damage import measure_damage
from tasks.media.video.frame_size import FrameSize
from tasks.media.video.frame_times import FrameTimes, are_same_times, decode_frames
from tasks.media.video.losses import check_decoding, count_lost
from tasks.media.video.quality import FrameFlags
from tasks.processes.tool import ToolLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedCut:
    """A video whose segments were written: its actual frames, small gray ones, and
    warnings."""

    source: SourceMedia
    plan: tuple[PlannedSegment, ...]
    gray: Gray
    flags: FrameFlags
    warnings: tuple[str, ...]

    @property
    def quality(self) -> VideoQuality:
        """How much of the video is black or frozen."""
        return self.flags.quality(0, self.plan[-1].end_ms)


def cut_decoded_frames(
    source: SourceMedia, folder: Path, rules: CutRules, limits: ToolLimits
) -> DecodedCut:
    """Write the video of all segments into an empty ``folder``.

    Raises:
        ItemFault: less than ``min_decoded_fraction`` of the frames decode undamaged, or their
            clock goes back.
    """
    listed = FrameTimes(times=source.frame_times, end_time=source.end_time)
    has_other_frames = False
    try:
        plan, frames = _cut(source, folder, rules, limits)
    except FramesFault as fault:
        source = _with_decoded_frames(source, listed, fault, limits)
        has_other_frames = True
        plan, frames = _cut(source, folder, rules, limits)
    largest = max(frames.sizes, key=lambda size: size.num_pixels, default=source.frame_size)
    if largest != source.frame_size:
        source = source.with_frame_size(largest)
        plan, frames = _cut(source, folder, rules, limits)
    warnings = _size_warnings(frames.sizes)
    if frames.num_errors or has_other_frames:
        warnings += _damage_warnings(source, listed, frames, rules, limits)
    return DecodedCut(
        source=source, plan=plan, gray=frames.gray, flags=frames.flags, warnings=tuple(warnings)
    )


def _with_decoded_frames(
    source: SourceMedia, listed: FrameTimes, fault: FramesFault, limits: ToolLimits
) -> SourceMedia:
    """Replace the frames that the container lists by those that decode.

    Raises:
        ItemFault: these are the same, or cannot be listed.
    """
    assert source.video_stream is not None
    decoded = decode_frames(
        source.path, source.video_stream, source.audio_stream, last_gap=listed.last_gap,
        limits=limits,
    )  # fmt: skip
    if are_same_times(decoded.times, listed.times):
        raise fault
    return source.with_frame_times(decoded)


def _cut(
    source: SourceMedia, folder: Path, rules: CutRules, limits: ToolLimits
) -> tuple[tuple[PlannedSegment, ...], CutFrames]:
    """Plan and cut; files of an earlier cut are deleted."""
    for leftover in folder.iterdir():
        leftover.unlink()
    plan = plan_segments(
        source.frame_times, source.end_time, rules.max_segment_ms, rules.cut_points_ms
    )
    return tuple(plan), cut_frames(source, plan, folder, rules, limits)


def _size_warnings(sizes: tuple[FrameSize, ...]) -> list[str]:
    if len(sizes) < 2:
        return []
    largest = max(sizes, key=lambda size: size.num_pixels)
    found = ", ".join(map(str, sizes))
    return [f"the frame size changes within the video ({found}): all are scaled to fit {largest}"]


def _damage_warnings(
    source: SourceMedia,
    listed: FrameTimes,
    frames: CutFrames,
    rules: CutRules,
    limits: ToolLimits,
) -> list[str]:
    assert source.video_stream is not None
    damage = measure_damage(source.path, source.video_stream, limits=limits)
    num_lost = count_lost(listed.times, source.frame_times)
    warnings = check_decoding(num_lost, damage, rules.min_decoded_fraction, limits)
    if frames.num_errors and not warnings:
        warnings = [f"ffmpeg reported {frames.num_errors} errors, the last: {frames.cause}"]
    return warnings
