"""Packets of an audio stream: the length of a file without video."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from storage.errors import ItemFault
from tasks.media.ffmpeg import read_rows, run_ffprobe
from tasks.processes.tool import ToolLimits

_GAP_SECONDS = 1.0
# Hashes are computed from the whole audio with its gaps: a broken clock would fill the memory.
_MAX_GAPS_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPackets:
    """The number of packets of an audio stream, and when the last one ends in seconds."""

    count: int
    end_time: float


def list_packets(path: Path, stream: int, origin: float, *, limits: ToolLimits) -> AudioPackets:
    """List an audio stream's packets from the container; times are relative to ``origin``.

    Raises:
        ItemFault: no packet has a timestamp, the stream is encrypted, or the gaps in its
            timestamps add up to more than ten minutes.
    """
    result = run_ffprobe(
        path,
        *("-select_streams", f"a:{stream}"),
        *("-show_entries", "packet=pts_time,duration_time:packet_side_data=side_data_type"),
        *("-of", "compact"),
        limits=limits,
    )
    packets = list(read_rows(result, "packet"))
    if any(packet.get("side_data_type") == "Encryption info" for packet in packets):
        raise ItemFault("the audio stream is encrypted: provide a decrypted file")
    timed = sorted(
        (time - origin, _seconds(packet.get("duration_time")) or 0.0)
        for packet in packets
        if (time := _seconds(packet.get("pts_time"))) is not None
    )
    if not timed:
        raise ItemFault("the audio stream has no packet with a timestamp")
    _check_gaps([0.0, *(time for time, _ in timed)])
    time, duration = timed[-1]
    return AudioPackets(count=len(packets), end_time=time + duration)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:  # N/A
        return None


def _check_gaps(times: Sequence[float]) -> None:
    gaps = [after - before for before, after in pairwise(times)]
    missing = sum(gap for gap in gaps if gap > _GAP_SECONDS)
    if missing > _MAX_GAPS_SECONDS:
        raise ItemFault(
            f"gaps in the audio timestamps add up to {missing:.0f} s, expected at most "
            f"{_MAX_GAPS_SECONDS:.0f} s: re-encode the file with continuous timestamps"
        )
