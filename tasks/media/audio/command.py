"""The ffmpeg call that decodes a file's audio stream."""

import ffmpeg

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.ffmpeg import compile_command, open_input
from tasks.media.probe import SourceMedia

AUDIO_NAME = "audio.wav"
# Audio timestamps may be days after the video: the silence up to them would fill the disk.
AUDIO_BEYOND_SECONDS = 60.0


def audio_name(index: int) -> str:
    """Return the name of a segment's audio file."""
    return f"{index:04d}.wav"


def audio_command(source: SourceMedia) -> list[str]:
    """Build the call that writes the whole audio as one continuous stream.

    The stream starts with the container's clock. Gaps are filled after resampling to mono: ffmpeg
    buffers the silence of a whole gap in memory, 32 kB per second.
    """
    track = open_input(source.path)[f"a:{source.audio_stream}"]
    audio = (
        track.filter("atrim", end=f"{source.end_time + AUDIO_BEYOND_SECONDS:.3f}")
        .filter("aformat", "s16", AUDIO_SAMPLE_RATE, "mono")
        .filter("aresample", **{"async": 1, "first_pts": 0})
    )
    return compile_command(ffmpeg.output(audio, AUDIO_NAME, acodec="pcm_s16le"))
