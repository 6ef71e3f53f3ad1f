"""Videos and segments as evaluation sees them, and the probabilities that methods give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from storage.identity import group_key

SPLITS = ("train", "val", "test", "unsplit")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedRow:
    """A video or segment, possibly labeled; ``split`` is ``unsplit`` where it has none."""

    row_id: str
    video_id: str
    participant_id: str | None
    split: str
    question: int | None
    duration_ms: int
    label: int | None

    @property
    def cluster(self) -> str:
        """Unit of resampling: the participant, or the video where the participant is unknown."""
        return group_key(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedVideo(EvaluatedRow):
    """A video; ``num_predicted`` of its ``num_segments`` have a prediction."""

    num_segments: int
    num_predicted: int
    consent_publications: bool | None
    consent_challenges: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedSegment(EvaluatedRow):
    """A segment; ``p_ah`` is ``None`` where its prediction is missing."""

    start_ms: int
    end_ms: int
    p_ah: float | None


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """Videos or segments and each method's probabilities; NaN where a method has none."""

    level: str
    rows: Sequence[EvaluatedRow]
    scores: Mapping[str, NDArray[np.float64]]

    @cached_property
    def labels(self) -> NDArray[np.float64]:
        """Label of every row, 0 or 1; NaN where it has none."""
        labels = [np.nan if row.label is None else row.label for row in self.rows]
        return np.array(labels, dtype=float)

    def evaluated_mask(self, split: str) -> NDArray[np.bool_]:
        """Return which rows of a split have a label and a probability from every method."""
        mask = np.array([row.split == split for row in self.rows], dtype=bool)
        mask &= ~np.isnan(self.labels)
        for p_ah in self.scores.values():
            mask &= ~np.isnan(p_ah)
        return mask

    def rows_at(self, mask: NDArray[np.bool_]) -> list[EvaluatedRow]:
        """Return the rows selected by a mask."""
        return [self.rows[index] for index in np.flatnonzero(mask)]
