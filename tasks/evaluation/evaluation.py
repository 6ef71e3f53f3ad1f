"""Verdicts on videos, their thresholds, and metrics beside baselines.

Rows without a prediction are in no metric; every metric comes with its number of rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.records import VideoId, VideoRecord
from storage.results import MemberRecord, MetricRecord, ThresholdRecord, VerdictRecord
from tasks.evaluation.baselines import baseline_probabilities
from tasks.evaluation.bootstrap import BootstrapSettings, bootstrap_intervals
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.evaluation.metrics import METRICS, Floats, compute_metrics
from tasks.evaluation.pooling import PoolingRule, open_segments
from tasks.evaluation.rows import SPLITS, EvaluatedSegment, EvaluatedVideo, ScoredRows
from tasks.evaluation.rule_selection import (
    adopt_earlier,
    choose_rule,
    choose_thresholds,
    is_chosen_on_validation,
)
from tasks.evaluation.thresholds import ThresholdPolicy

SEGMENT_METHOD = "segment"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """How to pool, choose and resample; ``pooling_rules`` are in order of preference."""

    pooling_rules: tuple[PoolingRule, ...]
    top_k: int
    policy: ThresholdPolicy
    bootstrap: BootstrapSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Result of an evaluation.

    ``videos`` holds every video of the data set, including those without segments. ``members`` are
    the metrics of an ensemble's models, see `tasks.evaluation.members`.
    """

    videos: tuple[EvaluatedVideo, ...]
    segments: tuple[EvaluatedSegment, ...]
    verdicts: tuple[VerdictRecord, ...]
    thresholds: tuple[ThresholdRecord, ...]
    metrics: tuple[MetricRecord, ...]
    members: tuple[MemberRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledPredictions:
    """Probabilities of videos under every pooling rule and of segments; NaN where missing."""

    videos: list[EvaluatedVideo]
    segments: list[EvaluatedSegment]
    by_rule: dict[str, Floats]
    unpooled: dict[str, Floats]


def pool_predictions(
    samples_path: Path,
    predictions_path: Path,
    plan: EvaluationPlan,
    videos: Iterable[VideoRecord] = (),
) -> PooledPredictions:
    """Pool predictions under every rule of the plan; ``videos`` adds those without segments."""
    with open_segments(samples_path, predictions_path) as table:
        segments = table.segments()
        rows = add_videos_without_segments(table.videos(), videos)
        pooled = {rule: table.pool(rule, plan.top_k) for rule in plan.pooling_rules}
    return PooledPredictions(
        videos=rows,
        segments=segments,
        by_rule={
            rule: np.array([p_ah.get(row.video_id, np.nan) for row in rows], dtype=float)
            for rule, p_ah in pooled.items()
        },
        # None becomes NaN.
        unpooled={SEGMENT_METHOD: np.array([row.p_ah for row in segments], dtype=float)},
    )


def evaluate(
    samples_path: Path,
    predictions_path: Path,
    videos: Iterable[VideoRecord],
    plan: EvaluationPlan,
    earlier: EarlierSelection | None = None,
) -> Evaluation:
    """Pool predictions, choose thresholds and a pooling rule on validation, and compute metrics.

    Where nothing can be chosen on validation, the selection of an ``earlier`` run is used.
    """
    pooled = pool_predictions(samples_path, predictions_path, plan, videos)
    rows, segments = pooled.videos, pooled.segments
    video_scores = ScoredRows(
        level="video", rows=rows, scores={**pooled.by_rule, **baseline_probabilities(rows)}
    )
    segment_scores = ScoredRows(
        level="segment",
        rows=segments,
        scores={**pooled.unpooled, **baseline_probabilities(segments)},
    )
    thresholds = choose_rule(choose_thresholds(video_scores, plan.policy), plan.pooling_rules)
    segment_thresholds = choose_thresholds(segment_scores, plan.policy)
    if not is_chosen_on_validation(thresholds):
        thresholds = adopt_earlier(thresholds, earlier)
        segment_thresholds = adopt_earlier(segment_thresholds, earlier)
    return Evaluation(
        videos=tuple(rows),
        segments=tuple(segments),
        verdicts=tuple(make_verdicts(rows, pooled.by_rule, thresholds)),
        thresholds=(*thresholds, *segment_thresholds),
        metrics=(
            *measure_splits(video_scores, thresholds, plan.bootstrap),
            *measure_splits(segment_scores, segment_thresholds, plan.bootstrap),
        ),
    )


def add_videos_without_segments(
    rows: Sequence[EvaluatedVideo], videos: Iterable[VideoRecord]
) -> list[EvaluatedVideo]:
    """Add the data set's videos that have no segments."""
    known = {row.video_id for row in rows}
    missing = [
        EvaluatedVideo(
            row_id=video.video_id,
            video_id=video.video_id,
            participant_id=video.participant_id,
            split=video.split or "unsplit",
            question=video.question,
            duration_ms=0,
            label=video.label,
            num_segments=0,
            num_predicted=0,
            consent_publications=video.consent_publications,
            consent_challenges=video.consent_challenges,
        )
        for video in videos
        if video.video_id not in known
    ]
    return sorted([*rows, *missing], key=lambda row: row.video_id)


def make_verdicts(
    rows: Sequence[EvaluatedVideo],
    by_rule: Mapping[str, Floats],
    thresholds: Sequence[ThresholdRecord],
) -> list[VerdictRecord]:
    """Return every video's verdict under every pooling rule, ``None`` without predictions."""
    records = {record.method: record for record in thresholds}
    return [
        VerdictRecord(
            video_id=VideoId(row.video_id),
            split=None if row.split == "unsplit" else row.split,
            pooling_rule=rule,
            num_segments=row.num_segments,
            num_predicted=row.num_predicted,
            p_ah=None if np.isnan(p) else float(p),
            threshold=records[rule].threshold,
            verdict=None if np.isnan(p) else int(p >= records[rule].threshold),
            label=row.label,
            chosen=records[rule].chosen,
            consent_publications=row.consent_publications,
            consent_challenges=row.consent_challenges,
        )
        for rule, p_ah in by_rule.items()
        for row, p in zip(rows, p_ah, strict=True)
    ]


def measure_splits(
    scored: ScoredRows, thresholds: Sequence[ThresholdRecord], bootstrap: BootstrapSettings
) -> list[MetricRecord]:
    """Compute every method's metrics on every split that has labeled rows with a prediction."""
    return [
        metric
        for split in SPLITS
        if scored.evaluated_mask(split).any()
        for record in thresholds
        for metric in _measure(scored, split, record, bootstrap)
    ]


def _measure(
    scored: ScoredRows, split: str, record: ThresholdRecord, bootstrap: BootstrapSettings
) -> list[MetricRecord]:
    mask = scored.evaluated_mask(split)
    labels, p_ah = scored.labels[mask], scored.scores[record.method][mask]
    clusters = [row.cluster for row in scored.rows_at(mask)]
    values = compute_metrics(labels, p_ah, record.threshold)
    intervals = bootstrap_intervals(labels, p_ah, record.threshold, clusters, bootstrap)
    metrics = []
    for name in METRICS:
        low, high = (intervals[name] if values[name] is not None else None) or (None, None)
        metrics.append(
            MetricRecord(
                name=name,
                method=record.method,
                split=split,
                level=record.level,
                value=values[name],
                low=low,
                high=high,
                num_rows=len(labels),
            )
        )
    return metrics
