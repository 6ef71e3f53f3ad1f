"""Check how much of an audio stream decodes, and report in seconds what is missing or unused."""

from collections.abc import Sequence

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.decode import DecodedAudio
from tasks.media.audio.segments import SegmentAudio
from tasks.media.audio.timeline import covered_by
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia
from tasks.media.verify import WARN_SECONDS

_PADDING_SECONDS = 0.25  # encoder padding of the first and last audio packet, at 8 kHz
_LINES_PER_PACKET = 2


def check_audio_decoding(
    source: SourceMedia, audio: DecodedAudio, min_fraction: float
) -> list[str]:
    """Compare the samples of a file without video with the length and packets of its container.

    Raises:
        ItemFault: less than ``min_fraction`` of the audio decodes.
    """
    decoded, listed = _seconds(_decoded_of(audio)), source.duration_seconds
    lost = max(0.0, listed - decoded - _PADDING_SECONDS)
    damaged = audio.num_errors / _LINES_PER_PACKET
    message = f"{decoded:.2f} of {listed:.2f} s of audio decode"
    if audio.num_errors:
        message += f", with {audio.num_errors} errors (ffmpeg: {audio.cause})"
    allowed = 1 - min_fraction
    if lost > allowed * listed or damaged > allowed * source.num_packets:
        raise ItemFault(f"damaged: {message}")
    return [message] if audio.num_errors or lost > WARN_SECONDS else []


def _decoded_of(audio: DecodedAudio) -> int:
    return covered_by(audio.present, 0, audio.timeline.end)


def loss_warnings(
    audio: DecodedAudio,
    plan: Sequence[PlannedSegment],
    written: Sequence[SegmentAudio],
) -> list[str]:
    """Report audio that is missing from a video, and audio of the source that is in no segment."""
    return [*_missing_warnings(audio, plan, written), *_unused_warnings(audio, plan)]


def _missing_warnings(
    audio: DecodedAudio, plan: Sequence[PlannedSegment], written: Sequence[SegmentAudio]
) -> list[str]:
    end = max(segment.end_sample for segment in plan if segment.has_video)
    missing = _seconds(end - covered_by(audio.present, 0, end))
    damaged = _seconds(_damaged(audio, plan[-1].end_sample))
    num_without = sum(not segment.is_written for segment in written)
    if missing <= WARN_SECONDS and damaged <= _PADDING_SECONDS and not num_without:
        return []
    message = f"audio is missing for {missing:.2f} of {_seconds(end):.2f} s of video"
    if damaged > _PADDING_SECONDS:
        message += f" ({damaged:.2f} s of the source's audio do not decode)"
    if num_without:
        message += f": {num_without} of {len(plan)} segments are without audio"
    return [message]


def _damaged(audio: DecodedAudio, end: int) -> int:
    """Count the samples up to ``end`` that the container lists, but that did not decode."""
    spans = [(max(0, a), min(b, end)) for a, b in audio.listed]
    return sum(b - a - covered_by(audio.present, a, b) for a, b in spans if a < b)


def _unused_warnings(audio: DecodedAudio, plan: Sequence[PlannedSegment]) -> list[str]:
    listed = audio.listed
    first, last = (min(a for a, _ in listed), max(b for _, b in listed)) if listed else (0, 0)
    before = _seconds(covered_by(listed, first, 0))
    used = [(segment.first_sample, segment.end_sample) for segment in plan]
    end = max(segment.end_sample for segment in plan if segment.has_video)
    unused = covered_by(listed, end, last) - sum(
        covered_by(listed, a, b) for a, b in used if a >= end
    )
    warnings = []
    if before > WARN_SECONDS:
        warnings.append(f"{before:.2f} s of audio before the first frame are not used")
    if _seconds(unused) > WARN_SECONDS:
        warnings.append(f"{_seconds(unused):.2f} s of audio after the last frame are not used")
    return warnings


def channel_warnings(audio: DecodedAudio) -> list[str]:
    """Report channels of which one is silent, or that cancel each other, and which one is used."""
    if audio.downmix.channel is None:
        return []
    used, other = ("left", "right") if audio.downmix.channel == 0 else ("right", "left")
    reason = "the channels are in antiphase and cancel each other"
    if audio.downmix.dead_channel:
        reason = f"the {other} audio channel is silent"
    return [f"{reason}: only the {used} one is used"]


def _seconds(num_samples: int) -> float:
    return num_samples / AUDIO_SAMPLE_RATE
