"""Read what the ffmpeg call wrote: chunks of PCM with timestamps, and the container's packets."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.timeline import MAX_JITTER, Chunk, Spans, union_of


def read_chunks(path: Path, num_channels: int, start: int) -> Iterator[Chunk]:
    """Read 16-bit PCM from a NUT file, as samples [samples] or [samples, channels].

    ``start`` is the position, in samples of the file's clock, that becomes 0. A file that is
    missing, or truncated because ffmpeg ended early, yields what it has.
    """
    if not path.exists() or not path.stat().st_size:
        return
    shape = (-1,) if num_channels == 1 else (-1, num_channels)
    with contextlib.suppress(av.FFmpegError), av.open(str(path), format="nut") as container:
        for packet in container.demux(audio=0):
            if packet.size and packet.pts is not None:
                at = round(packet.pts * packet.time_base * AUDIO_SAMPLE_RATE)
                samples = np.frombuffer(bytes(packet), np.int16).reshape(shape)
                yield Chunk(start=at - start, samples=samples)


def read_packets(path: Path, start: int) -> Spans:
    """Read the time spans of packets from a list in ffmpeg's framecrc format, in samples.

    Packets less than a tenth of a second apart are one span. ``start`` is as in `read_chunks`.
    """
    if not path.exists():
        return []
    scale, spans = 0.0, list[tuple[int, int]]()
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("#tb 0:"):
            ticks, per = line.removeprefix("#tb 0:").split("/")
            scale = AUDIO_SAMPLE_RATE * int(ticks) / int(per)
        elif not line.startswith("#") and (packet := _numbers(line)):
            time, duration = packet
            spans.append((round(time * scale) - start, round((time + duration) * scale) - start))
    return union_of(spans, MAX_JITTER)


def _numbers(line: str) -> tuple[int, int] | None:
    """Return the presentation time and the duration of a line ``stream, dts, pts, duration, …``."""
    try:
        time, duration = (int(cell) for cell in line.split(",")[2:4])
    except ValueError:  # the last line of a call that ended early
        return None
    return time, duration
