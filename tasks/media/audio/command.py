"""The ffmpeg call that decodes a file's audio stream.

Outputs carry timestamps, and Python puts their samples on the clock (`tasks.media.audio.timeline`).
ffmpeg rebuilds its filters when the audio's format changes within a recording: filters that count
samples or fill gaps, such as ``aresample=first_pts=0``, would then start over.
"""

import ffmpeg

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.ffmpeg import compile_command, follow_clock, open_input
from tasks.media.probe import SourceMedia

MONO_NAME = "mono.nut"
STEREO_NAME = "stereo.nut"
PACKETS_NAME = "packets.txt"
# Of audio that goes on after the last frame, this much is kept.
MAX_TAIL_SECONDS = 600.0


def audio_name(index: int) -> str:
    """Return the name of a segment's audio file."""
    return f"{index:04d}.wav"


def audio_command(source: SourceMedia) -> list[str]:
    """Build the call that decodes the audio at 16 kHz, mixed to mono and in stereo, and lists it.

    The stereo output shows what mixing hides, channels that are silent or cancel each other, and
    measures the audio independently of the mono output. The list has one line per packet of the
    container, decodable or not. Timestamps start with the container's clock.
    """
    # The list has an input of its own: ffmpeg rounds the timestamps of decoded audio otherwise if
    # it copies packets of the same input.
    file, again = open_input(source.path), open_input(source.path, again=True)
    track = file[f"a:{source.audio_stream}"]
    # Timestamps may be days after the video, and a file may be endless: limit what is written.
    kept = track.filter(
        "atrim", end=f"{source.end_time + MAX_TAIL_SECONDS:.3f}"
    ).filter_multi_output("asplit")
    outputs = [
        ffmpeg.output(
            kept[index].filter("aformat", "s16", AUDIO_SAMPLE_RATE, layout),
            name,
            acodec="pcm_s16le",
            f="nut",
        )
        for index, (layout, name) in enumerate((("mono", MONO_NAME), ("stereo", STEREO_NAME)))
    ]
    listed = again[f"a:{source.audio_stream}"]
    outputs.append(ffmpeg.output(listed, PACKETS_NAME, acodec="copy", f="framecrc"))
    if source.video_stream is not None:
        outputs += (follow_clock(its[f"v:{source.video_stream}"]) for its in (file, again))
    return compile_command(ffmpeg.merge_outputs(*outputs))
