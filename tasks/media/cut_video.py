"""Cut one video, damaged or not, into segments: probe, plan, cut, verify."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.media_records import AudioQuality, VideoQuality
from tasks.media.audio.decode import DecodedAudio, decode_audio
from tasks.media.audio.energy import check_energy
from tasks.media.audio.quality import measure_audio
from tasks.media.audio.segments import (
    SegmentAudio,
    plan_audio_only,
    plan_tail,
    write_segments,
)
from tasks.media.audio.timeline import NO_SAMPLES
from tasks.media.audio.verify import channel_warnings, check_audio_decoding, loss_warnings
from tasks.media.perceptual_hash import MediaHashes, hashes_of
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia, probe
from tasks.media.quality import level_problems, video_problems
from tasks.media.rules import CutRules
from tasks.media.verify import check_length
from tasks.media.video.cut import NO_FRAMES
from tasks.media.video.cut_decoded import DecodedCut, cut_decoded_frames
from tasks.media.video.quality import FrameFlags
from tasks.processes.tool import ToolLimits

_PROBE_SECONDS = 120
_NO_VIDEO = "the file has no video stream, only audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutVideo:
    """A video whose segments were written to a folder, with its perceptual hashes and warnings.

    ``audio`` is that of each planned segment, ``audio_quality`` that of the whole video; empty and
    ``None`` without an audio stream. ``frame_flags`` measure any stretch of the video; ``None``
    without a video stream.
    """

    source: SourceMedia
    plan: tuple[PlannedSegment, ...]
    audio: tuple[SegmentAudio, ...] = ()
    audio_quality: AudioQuality | None = None
    dead_channel: bool = False
    antiphase: bool = False
    warnings: tuple[str, ...]
    hashes: MediaHashes
    frame_flags: FrameFlags | None = None
    video_quality: VideoQuality | None = None


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
    frames = cut_decoded_frames(source, folder, rules, limits)
    source, plan = frames.source, frames.plan
    warnings += frames.warnings
    warnings += (problem.message for problem in video_problems(frames.quality))
    if source.audio_stream is None:
        return CutVideo(
            source=source,
            plan=plan,
            warnings=tuple(warnings),
            hashes=hashes_of(frames.gray, NO_SAMPLES),
            frame_flags=frames.flags,
            video_quality=frames.quality,
        )
    audio = decode_audio(source, folder, limits)
    plan += plan_tail(plan, audio, rules.max_segment_ms)
    warnings += _error_warnings(audio)
    return _with_audio(source, plan, audio, frames, folder, warnings)


def _with_audio(
    source: SourceMedia,
    plan: tuple[PlannedSegment, ...],
    audio: DecodedAudio,
    frames: DecodedCut | None,
    folder: Path,
    warnings: Sequence[str],
) -> CutVideo:
    """Write and verify the audio of all segments."""
    written = write_segments(plan, audio, folder)
    check_energy(audio, plan, written, folder)
    quality = measure_audio(audio.timeline, audio.present, 0, plan[-1].end_sample)
    losses = [] if frames is None else loss_warnings(audio, plan, written)
    levels = (problem.message for problem in level_problems(quality))
    samples = audio.timeline.read(0, plan[-1].end_sample)
    return CutVideo(
        source=source,
        plan=plan,
        audio=written,
        audio_quality=quality,
        dead_channel=audio.downmix.dead_channel,
        antiphase=audio.downmix.antiphase,
        warnings=(*warnings, *losses, *channel_warnings(audio), *levels),
        hashes=hashes_of(NO_FRAMES if frames is None else frames.gray, samples),
        frame_flags=None if frames is None else frames.flags,
        video_quality=None if frames is None else frames.quality,
    )


def _error_warnings(audio: DecodedAudio) -> list[str]:
    if not audio.num_errors:
        return []
    return [f"ffmpeg reported {audio.num_errors} errors, the last: {audio.cause}"]


def _cut_audio_only(
    source: SourceMedia, folder: Path, rules: CutRules, limits: ToolLimits, warnings: list[str]
) -> CutVideo:
    audio = decode_audio(source, folder, limits)
    damage = check_audio_decoding(source, audio, rules.min_decoded_fraction)
    plan = plan_audio_only(audio, rules.max_segment_ms, rules.cut_points_ms)
    return _with_audio(source, plan, audio, None, folder, (_NO_VIDEO, *warnings, *damage))
