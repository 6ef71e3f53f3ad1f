"""Videos and segments as evaluation sees them: whose they are, what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test", "unsplit")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedRow:
    """A video or segment that may have a label; ``split`` is ``unsplit`` where there is none."""

    row_id: str
    video_id: str
    participant_id: str | None
    split: str
    question: int | None
    duration_ms: int
    label: int | None

    @property
    def cluster(self) -> str:
        """What is resampled as one: the participant, or the video where nobody is named."""
        return self.participant_id if self.participant_id is not None else self.video_id


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedVideo(EvaluatedRow):
    """A video, ``num_predicted`` of whose ``num_segments`` have a prediction."""

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
    """Videos (or segments) and every method's probability for each; NaN where it has none."""

    level: str
    rows: Sequence[EvaluatedRow]
    scores: Mapping[str, NDArray[np.float64]]

    @cached_property
    def labels(self) -> NDArray[np.float64]:
        """Every row's label, 0 or 1; NaN where there is none."""
        known = [np.nan if row.label is None else row.label for row in self.rows]
        return np.array(known, dtype=float)

    def evaluated_mask(self, split: str) -> NDArray[np.bool_]:
        """Mark a split's rows that have a label and, from every method, a probability."""
        marked = np.array([row.split == split for row in self.rows], dtype=bool)
        marked &= ~np.isnan(self.labels)
        for p_ah in self.scores.values():
            marked &= ~np.isnan(p_ah)
        return marked

    def rows_at(self, mask: NDArray[np.bool_]) -> list[EvaluatedRow]:
        """List the marked rows."""
        return [self.rows[index] for index in np.flatnonzero(mask)]
