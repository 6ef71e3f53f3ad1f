"""Contents of exported tables, by purpose.

The purpose is also the last column of every table, so that copied rows keep it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from storage.datasets.consent import Purpose
from storage.records import TRANSCRIPT_COLUMNS, SampleRecord
from storage.results import PredictionRecord, VerdictRecord
from storage.schema import to_table

# Transcripts are personal, and store paths are of no use to recipients.
_INTERNAL_COLUMNS = (*TRANSCRIPT_COLUMNS, "video_path", "audio_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedVerdict:
    """A video's verdict under the chosen pooling rule."""

    video_id: str
    split: str | None
    p_ah: float | None
    verdict: int | None
    label: int | None
    pooling_rule: str
    threshold: float
    num_segments: int
    num_predicted: int
    consent_publications: bool | None
    consent_challenges: bool | None
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSegment:
    """A segment's prediction and label; ``verdict`` is 1 where ``p_ah >= threshold``."""

    segment_id: str
    video_id: str
    participant_id: str | None
    split: str | None
    question: int | None
    index: int
    start_ms: int
    end_ms: int
    p_ah: float | None
    verdict: int | None
    label: int | None
    label_source: str | None
    overlap_ms: int
    threshold: float
    consent_publications: bool | None
    consent_challenges: bool | None
    purpose: str


def verdict_table(verdicts: Iterable[VerdictRecord], purpose: Purpose) -> pa.Table:
    """Build the table of the chosen pooling rule's verdicts, one row per video."""
    rows = (
        ExportedVerdict(
            video_id=row.video_id,
            split=row.split,
            p_ah=row.p_ah,
            verdict=row.verdict,
            label=row.label,
            pooling_rule=row.pooling_rule,
            threshold=row.threshold,
            num_segments=row.num_segments,
            num_predicted=row.num_predicted,
            consent_publications=row.consent_publications,
            consent_challenges=row.consent_challenges,
            purpose=purpose,
        )
        for row in verdicts
        if row.chosen
    )
    return to_table(ExportedVerdict, rows)


def segment_table(
    samples: Iterable[SampleRecord],
    predictions: Iterable[PredictionRecord],
    threshold: float,
    purpose: Purpose,
) -> pa.Table:
    """Build the table of segments with their predictions, in the order of ``samples``."""
    p_ah_of = {row.segment_id: row.p_ah for row in predictions}
    rows = (
        ExportedSegment(
            segment_id=row.segment_id,
            video_id=row.video_id,
            participant_id=row.participant_id,
            split=row.split,
            question=row.question,
            index=row.index,
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            p_ah=p_ah,
            verdict=apply_threshold(p_ah, threshold),
            label=row.label,
            label_source=row.label_source,
            overlap_ms=row.overlap_ms,
            threshold=threshold,
            consent_publications=row.consent_publications,
            consent_challenges=row.consent_challenges,
            purpose=purpose,
        )
        for row in samples
        for p_ah in [p_ah_of.get(row.segment_id)]
    )
    return to_table(ExportedSegment, rows)


def apply_threshold(p_ah: float | None, threshold: float) -> int | None:
    """Return the verdict of one probability; ``None`` without a probability."""
    return None if p_ah is None else int(p_ah >= threshold)


def manifest_table(samples: Sequence[SampleRecord], purpose: Purpose) -> pa.Table:
    """Build the table of samples; transcripts and store paths are for internal use only.

    Transcripts are personal data regardless of consent. The number of words and the duration of
    pauses are exported for every purpose.
    """
    table = to_table(SampleRecord, samples)
    if purpose != "internal":
        table = table.drop_columns(list(_INTERNAL_COLUMNS))
    column = pa.array([purpose] * len(samples), pa.string())
    return table.append_column(pa.field("purpose", pa.string(), nullable=False), column)
