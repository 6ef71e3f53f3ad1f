"""Decide from lost and damaged frames whether enough of a video is left."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import ceil

from storage.errors import ItemFault, TransientFault
from tasks.media.ffmpeg import memory_reason
from tasks.media.video.damage import Damage
from tasks.processes.tool import ToolLimits


def count_lost(listed: Sequence[float], decoded: Sequence[float]) -> int:
    """Count the frames that a container lists and that do not decode.

    Both are sorted times in seconds. A listed packet is not always a frame: field-coded video
    stores two for each frame, and VP8 some that are not displayed. Frames are lost where decoded
    ones are also further apart than usual.
    """
    gaps = sorted(b - a for a, b in pairwise(decoded) if b > a)
    if not gaps:
        return max(0, len(listed) - len(decoded))
    usual = gaps[len(gaps) // 2]
    first = bisect_left(listed, decoded[0] - usual / 2)
    lost = min(first, round((decoded[0] - listed[0]) / usual)) if first else 0
    # The last listed packet may be a second field, half a frame after the first.
    end_of_listed = max(listed[-1] - usual / 4, decoded[-1]) + usual
    for before, after in pairwise([*decoded, end_of_listed]):
        missing = round((after - before) / usual) - 1
        if missing > 0:
            start, end = (
                bisect_left(listed, before + usual / 2),
                bisect_left(listed, after - usual / 2),
            )
            lost += min(missing, end - start)
    num_listed = ceil(len(listed) / _packets_per_frame(listed, decoded, usual) - 1e-6)
    return min(lost, max(0, num_listed - len(decoded)))


def _packets_per_frame(listed: Sequence[float], decoded: Sequence[float], usual: float) -> float:
    """Return the mean number of packets, at least 1, from one decoded frame to the next.

    Only frames that follow each other count. The time of a second field is half a frame after the
    first, or that of the next frame; so the first frame may have fewer packets than the others.
    """
    starts = [bisect_left(listed, time - usual / 4) for time in decoded]
    counts = [
        end - start
        for (before, after), (start, end) in zip(pairwise(decoded), pairwise(starts), strict=True)
        if after - before < 1.5 * usual
    ]
    counts = counts[1:] or counts
    return max(1.0, sum(counts) / len(counts)) if counts else 1.0


def check_decoding(
    num_lost: int, damage: Damage, min_fraction: float, limits: ToolLimits
) -> list[str]:
    """Compare the frames that decode undamaged with all frames.

    Returns:
        A warning about damaged frames.

    Raises:
        ItemFault: less than ``min_fraction`` of the frames decode undamaged.
    """
    num_frames = damage.num_frames + num_lost
    num_bad = damage.num_damaged + num_lost
    message = f"{num_bad} of {num_frames} frames are damaged"
    if num_lost:
        message += f", {num_lost} of them do not decode"
    if damage.cause:
        message += f" (ffmpeg: {damage.cause})"
    if num_frames - num_bad < min_fraction * num_frames:
        if damage.out_of_memory:
            raise TransientFault(memory_reason(limits))
        raise ItemFault(f"damaged: {message}")
    return [message] if num_bad else []
