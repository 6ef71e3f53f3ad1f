"""What a container says of the packets of its sound, where no picture says how long it lasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from storage.errors import ItemFault
from tasks.media.frame_times import read_rows, run_ffprobe
from tasks.processes.tool import ToolLimits

_HOLE_SECONDS = 1.0
# Silence is written for what a clock leaves out: a wrong one would fill the disk.
_MAX_HOLES_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """How many packets a sound has, and when the last one ends, in seconds."""

    count: int
    end_time: float


def list_packets(path: Path, stream: int, origin: float, *, limits: ToolLimits) -> Packets:
    """List a sound stream's packets as the container has them; times count from ``origin``.

    Raises:
        ItemFault: there is none, they are encrypted, or they leave out more than ten minutes.
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
        raise ItemFault("its sound is encrypted: hand it in decrypted")
    timed = sorted(
        (time - origin, _seconds(packet.get("duration_time")) or 0.0)
        for packet in packets
        if (time := _seconds(packet.get("pts_time"))) is not None
    )
    if not timed:
        raise ItemFault("its sound stream holds nothing that can be heard")
    _check_holes([0.0, *(time for time, _ in timed)])
    time, lasting = timed[-1]
    return Packets(count=len(packets), end_time=time + lasting)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:  # N/A
        return None


def _check_holes(times: Sequence[float]) -> None:
    gaps = [after - before for before, after in pairwise(times)]
    away = sum(gap for gap in gaps if gap > _HOLE_SECONDS)
    if away > _MAX_HOLES_SECONDS:
        raise ItemFault(
            f"its sound is away for {away:.0f} s in all, expected at most {_MAX_HOLES_SECONDS:.0f}"
            " s: hand it in with a steady clock"
        )
