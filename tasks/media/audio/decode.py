"""Decode a file's audio stream to 16 kHz mono samples on the clock of its video."""

from dataclasses import dataclass
from pathlib import Path

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.channels import ChannelLevels, Downmix, choose_downmix, measure_channels
from tasks.media.audio.chunks import read_chunks, read_packets
from tasks.media.audio.command import MONO_NAME, PACKETS_NAME, STEREO_NAME, audio_command
from tasks.media.audio.timeline import (
    Chunk,
    Spans,
    Timeline,
    covered_by,
    gaps_of,
    join_chunks,
    union_of,
)
from tasks.media.ffmpeg import error_cause, run_ffmpeg
from tasks.media.probe import SourceMedia
from tasks.processes.tool import ToolLimits

# Encoders with discontinuous transmission leave out up to half a second of silence at a time.
_UNSENT_SILENCE = AUDIO_SAMPLE_RATE // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedAudio:
    """A file's 16 kHz mono audio; positions are samples from the first frame of the video.

    ``timeline`` has the samples, ``listed`` the spans of the container's packets, ``present`` the
    spans for which the audio is known: decoded, or silence that was not transmitted. ``levels`` are
    measured independently of ``timeline``. ``num_errors`` is the number of lines that ffmpeg
    logged, ``cause`` the last of them.
    """

    timeline: Timeline
    downmix: Downmix
    levels: ChannelLevels
    listed: Spans
    present: Spans
    num_errors: int
    cause: str


def decode_audio(source: SourceMedia, folder: Path, limits: ToolLimits) -> DecodedAudio:
    """Decode the audio stream of ``source``, with temporary files in ``folder``.

    Raises:
        ItemFault: the decoder timed out, or a file without video has no audio that decodes.
        StageError: ffmpeg was killed.
        ToolError: ffmpeg is not installed.
        OSError: the folder's disk is full.
    """
    files = [folder / name for name in (MONO_NAME, STEREO_NAME, PACKETS_NAME)]
    try:
        result = run_ffmpeg(audio_command(source), folder, limits)
        cause = error_cause(result, limits)
        start = round(source.start_time * AUDIO_SAMPLE_RATE)
        levels = measure_channels(read_chunks(files[1], 2, start))
        downmix = choose_downmix(levels)
        timeline = _mixed_down(downmix, files[0], files[1], start)
        listed = read_packets(files[2], start)
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    if not timeline.end and source.video_stream is None:
        raise ItemFault(f"damaged: no audio could be decoded (ffmpeg: {cause or 'no message'})")
    return DecodedAudio(
        timeline=timeline,
        downmix=downmix,
        levels=levels,
        listed=listed,
        present=_present(timeline, listed),
        num_errors=result.num_stderr_lines,
        cause=cause,
    )


def _mixed_down(downmix: Downmix, mono: Path, stereo: Path, start: int) -> Timeline:
    """Put one channel's or the mixed samples on the timeline."""
    if downmix.channel is None:
        return join_chunks(read_chunks(mono, 1, start))
    return join_chunks(
        Chunk(start=chunk.start, samples=chunk.samples[:, downmix.channel])
        for chunk in read_chunks(stereo, 2, start)
    )


def _present(timeline: Timeline, listed: Spans) -> Spans:
    """Return the decoded spans, and short gaps between them in which no packet was sent."""
    decoded = timeline.spans()
    unsent = [
        (start, end)
        for start, end in gaps_of(decoded)
        if end - start <= _UNSENT_SILENCE and covered_by(listed, start, end) < (end - start) / 2
    ]
    return union_of([*decoded, *unsent])
