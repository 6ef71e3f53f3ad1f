"""Check how much of an audio stream decodes, and whether it is as long as the video."""

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.command import AUDIO_BEYOND_SECONDS
from tasks.media.audio.decode import DecodedAudio
from tasks.media.probe import SourceMedia

_TOLERANCE_SECONDS = 0.5
_WARN_SECONDS = 0.5
_PADDING_SECONDS = 0.25  # encoder padding of the first and last audio packet, at 8 kHz
_LINES_PER_PACKET = 2


def check_audio_decoding(
    source: SourceMedia, audio: DecodedAudio, min_fraction: float
) -> list[str]:
    """Compare the samples of a file without video with the length and packets of its container.

    Raises:
        ItemFault: less than ``min_fraction`` of the audio decodes.
    """
    decoded, listed = len(audio.samples) / AUDIO_SAMPLE_RATE, source.duration_seconds
    lost = max(0.0, listed - decoded - _PADDING_SECONDS)
    damaged = audio.num_errors / _LINES_PER_PACKET
    message = f"{decoded:.2f} of {listed:.2f} s of audio decode"
    if audio.num_errors:
        message += f", with {audio.num_errors} errors (ffmpeg: {audio.cause})"
    allowed = 1 - min_fraction
    if lost > allowed * listed or damaged > allowed * source.num_packets:
        raise ItemFault(f"damaged: {message}")
    return [message] if audio.num_errors or lost > _WARN_SECONDS else []


def audio_length_warnings(source: SourceMedia, num_samples: int) -> list[str]:
    """Compare the decoded audio's length with the video's."""
    difference = num_samples / AUDIO_SAMPLE_RATE - source.duration_seconds
    if abs(difference) <= _TOLERANCE_SECONDS:
        return []
    if difference >= AUDIO_BEYOND_SECONDS - _TOLERANCE_SECONDS:
        return [f"the audio is at least {AUDIO_BEYOND_SECONDS:.0f} s longer than the video"]
    comparison = "longer" if difference > 0 else "shorter"
    return [f"the audio is {abs(difference):.2f} s {comparison} than the video"]
