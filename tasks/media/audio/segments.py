"""Segments of audio: stretches without video, and the WAV file of each segment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from storage.media_records import AudioQuality
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.command import MAX_TAIL_SECONDS, audio_name
from tasks.media.audio.decode import DecodedAudio
from tasks.media.audio.quality import measure_audio
from tasks.media.audio.timeline import union_of
from tasks.media.audio.wav import write_audio
from tasks.media.plan import PlannedSegment, plan_audio

# Below it, more of a segment's audio would be made-up silence than the source's.
MIN_DECODED_FRACTION = 0.5
# An encoder's padding of the last packet is shorter; a word is hardly longer.
MIN_TAIL_SECONDS = 1.0

_SAMPLES_PER_MS = AUDIO_SAMPLE_RATE // 1000
_MAX_PAUSE = AUDIO_SAMPLE_RATE  # gaps up to a second are part of a stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentAudio:
    """One segment's audio: its measures, and whether its file was written."""

    quality: AudioQuality
    is_written: bool


def plan_audio_only(
    audio: DecodedAudio, max_segment_ms: int, cut_points_ms: Sequence[int]
) -> tuple[PlannedSegment, ...]:
    """Split the audio of a file without video; gaps of more than a second are in no segment."""
    return _plan_stretches(audio, (0, 0), audio.timeline.end, 0, max_segment_ms, cut_points_ms)


def plan_tail(
    plan: Sequence[PlannedSegment], audio: DecodedAudio, max_segment_ms: int
) -> tuple[PlannedSegment, ...]:
    """Split audio after the last frame, up to ten minutes, into segments without video.

    Stretches of less than a second are left out.
    """
    last = plan[-1]
    limit = last.end_sample + round(MAX_TAIL_SECONDS * AUDIO_SAMPLE_RATE)
    shortest = round(MIN_TAIL_SECONDS * AUDIO_SAMPLE_RATE)
    origin = last.end_ms, last.end_sample
    tail = _plan_stretches(audio, origin, limit, shortest, max_segment_ms)
    return tuple(
        replace(
            segment,
            index=len(plan) + segment.index,
            first_frame=last.end_frame,
            end_frame=last.end_frame,
        )
        for segment in tail
    )


def _plan_stretches(
    audio: DecodedAudio,
    origin: tuple[int, int],
    limit: int,
    shortest: int,
    max_segment_ms: int,
    cut_points_ms: Sequence[int] = (),
) -> tuple[PlannedSegment, ...]:
    """Split each stretch of audio from ``origin``, in milliseconds and samples, to ``limit``."""
    from_ms, from_sample = origin
    clipped = [(max(a, from_sample), min(b, limit)) for a, b in audio.present]
    # The empty span makes a stretch start at the origin if it nearly does.
    stretches = union_of(
        [(from_sample, from_sample), *(s for s in clipped if s[0] < s[1])], _MAX_PAUSE
    )
    planned: list[PlannedSegment] = []
    for start, end in stretches:
        if end - start < max(1, shortest):
            continue
        offset_ms = (start - from_sample) // _SAMPLES_PER_MS
        first = from_sample + offset_ms * _SAMPLES_PER_MS
        points = [point - offset_ms for point in cut_points_ms]
        count = len(planned)
        planned += (
            replace(
                segment,
                index=count + segment.index,
                start_ms=from_ms + offset_ms + segment.start_ms,
                end_ms=from_ms + offset_ms + segment.end_ms,
                first_sample=first + segment.first_sample,
                end_sample=first + segment.end_sample,
            )
            for segment in plan_audio(end - first, max_segment_ms, points)
        )
    return tuple(planned)


def write_segments(
    plan: Sequence[PlannedSegment], audio: DecodedAudio, folder: Path
) -> tuple[SegmentAudio, ...]:
    """Write each segment's samples, unless less than half of its audio is known.

    Gaps in a written segment are silent.
    """
    written = []
    for segment in plan:
        bounds = segment.first_sample, segment.end_sample
        quality = measure_audio(audio.timeline, audio.present, *bounds)
        is_written = quality.decoded_fraction >= MIN_DECODED_FRACTION
        if is_written:
            write_audio(folder / audio_name(segment.index), audio.timeline.read(*bounds))
        written.append(SegmentAudio(quality=quality, is_written=is_written))
    return tuple(written)
