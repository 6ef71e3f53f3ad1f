"""From a segment's overlap with the annotation to its label, and whether the label is clear."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.labels.annotation import LocatedAnnotation

FROM_INTERVALS = "intervals"
FROM_VIDEO = "video"


class LabelRule(BaseModel):
    """What makes a segment positive, and which segments are too unclear to learn from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    overlap_unit: Literal["share", "ms"] = "share"
    """Overlap with annotated intervals is measured as a share of the segment or in milliseconds."""
    positive_at: float = Field(default=0.5, gt=0)
    """A segment is positive if annotated intervals cover at least this much of it."""
    negative_below: float | None = Field(default=None, gt=0)
    """A segment covered by at least this much, yet not positive, is left out of training. It counts
    as negative wherever something is measured. By default every segment is clear."""
    unannotated_positive: Literal["video", "unlabelled"] = "video"
    """What a positive video without intervals makes of its segments: weak positives, which train
    and are measured nowhere, or segments without label."""

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
        if self.overlap_unit == "share" and bound > 1:
            raise ValueError(
                f"{name} {bound} is no share in (0, 1]: lower it, or set overlap_unit to ms"
            )
        if self.overlap_unit == "ms" and not bound.is_integer():
            raise ValueError(
                f"{name} {bound} is no whole number of milliseconds: overlap_unit ms asks for one, "
                f"as in {name} = 500"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLabel:
    """A segment's label and what it stands on; ``source`` is as in `SampleRecord.label_source`.

    ``clear`` is false in the band between the rule's two bounds.
    """

    label: int | None
    source: str | None
    clear: bool = True


def label_segment(
    annotation: LocatedAnnotation, *, overlap_ms: int, overlap_fraction: float, rule: LabelRule
) -> SegmentLabel:
    """Decide a segment's label from how much of it the annotated intervals cover.

    Where the annotation does not say which parts of the video show A/H, there is at most a weak
    label: that of the whole video.
    """
    if annotation.locates:
        overlap = overlap_fraction if rule.overlap_unit == "share" else overlap_ms
        positive = overlap >= rule.positive_at
        in_band = rule.negative_below is not None and rule.negative_below <= overlap
        return SegmentLabel(
            label=int(positive), source=FROM_INTERVALS, clear=positive or not in_band
        )
    if annotation.asserts and rule.unannotated_positive == "video":
        return SegmentLabel(label=1, source=FROM_VIDEO)
    return SegmentLabel(label=None, source=None)
