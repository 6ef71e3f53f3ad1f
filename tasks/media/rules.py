"""Settings by which one video is cut."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRules:
    """Settings of the segment stage, and the ``cut_points_ms`` of one video."""

    max_segment_ms: int
    long_side: int
    crf: int
    min_decoded_fraction: float
    cut_points_ms: tuple[int, ...] = ()
