"""From a segment's overlap with the annotation to its label, and whether it is used in training."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.labels.annotation import LocatedAnnotation
from tasks.labels.overlap import SegmentOverlap

FROM_INTERVALS = "intervals"
FROM_VIDEO = "video"


class LabelRule(BaseModel):
    """Which segments are positive, and which are too ambiguous to train on."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    overlap_unit: Literal["fraction", "larger_fraction", "ms"] = "fraction"
    """Unit of a segment's overlap with annotated intervals: `fraction` of the segment, the
    `larger_fraction` of the segment or of one interval, or `ms`."""
    positive_at: float = Field(default=0.5, gt=0)
    """A segment is positive if its overlap with annotated intervals is at least this much."""
    negative_below: float | None = Field(default=None, gt=0)
    """A segment covered by at least this much, yet not positive, is in the ignore band: left out of
    training, and negative in all metrics. Unset, there is no ignore band."""
    unannotated_positive: Literal["video", "unlabeled"] = "video"
    """Segments of a positive video without intervals: weak positives, used in training but in no
    metric, or unlabeled segments."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "LabelRule":
        for name in ("positive_at", "negative_below"):
            bound = getattr(self, name)
            if bound is not None:
                self._check_unit(name, bound)
        if self.negative_below is not None and self.negative_below >= self.positive_at:
            raise ValueError(
                f"negative_below {self.negative_below} must be less than positive_at "
                f"{self.positive_at}"
            )
        return self

    def _check_unit(self, name: str, bound: float) -> None:
        if self.overlap_unit != "ms" and bound > 1:
            raise ValueError(
                f"{name} {bound} is not a fraction in (0, 1]: lower it, or set overlap_unit to ms"
            )
        if self.overlap_unit == "ms" and not bound.is_integer():
            raise ValueError(
                f"{name} {bound} is not a whole number of milliseconds, as overlap_unit ms "
                f"requires: set, for example, {name} = 500"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLabel:
    """A segment's label; ``source`` is documented at `SampleRecord.label_source`.

    ``in_ignore_band`` is true between the rule's two bounds.
    """

    label: int | None
    source: str | None
    in_ignore_band: bool = False


def label_segment(
    annotation: LocatedAnnotation, overlap: SegmentOverlap, rule: LabelRule
) -> SegmentLabel:
    """Label a segment by its overlap with the annotated intervals.

    Where it is unknown which part of the segment shows A/H, it has a label only if that is the same
    in any case, and if part of it is known to be without A/H for the label 0. Otherwise, at most
    the weak label of the whole video is available.
    """
    low, high = overlap_bounds(overlap, rule)
    is_known = overlap.ms + overlap.unknown_ms < overlap.duration_ms or not overlap.unknown_ms
    if low >= rule.positive_at or (high < rule.positive_at and is_known):
        positive = low >= rule.positive_at
        above_negative = rule.negative_below is not None and rule.negative_below <= high
        return SegmentLabel(
            label=int(positive),
            source=FROM_INTERVALS,
            in_ignore_band=above_negative and not positive,
        )
    if annotation.is_unannotated_positive and rule.unannotated_positive == "video":
        return SegmentLabel(label=1, source=FROM_VIDEO)
    return SegmentLabel(label=None, source=None)


def overlap_bounds(overlap: SegmentOverlap, rule: LabelRule) -> tuple[float, float]:
    """Return a segment's overlap in the rule's unit if no unknown time shows A/H, and if all does.

    Unknown time may contain a whole interval of A/H.
    """
    most_ms = overlap.ms + overlap.unknown_ms
    if rule.overlap_unit == "ms":
        return overlap.ms, most_ms
    if rule.overlap_unit == "fraction":
        return overlap.fraction, overlap.fraction_of(most_ms)
    low = max(overlap.fraction, overlap.interval_fraction)
    return low, 1.0 if overlap.unknown_ms else low
