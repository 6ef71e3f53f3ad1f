"""Sections of the report, arranged from an evaluation: metrics and videos by split, a curve."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from markupsafe import Markup

from storage.records import (
    Interval,
    RejectedRecord,
    VideoId,
    VideoRecord,
)
from storage.results import MetricRecord, ThresholdRecord, VerdictRecord
from tasks.evaluation.display import REPORT_SPLITS
from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.metrics import ScoreName
from tasks.evaluation.rows import EvaluatedSegment, EvaluatedVideo
from tasks.evaluation.thresholds import score_steps
from tasks.labels.annotation import locate
from tasks.report import plots


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLine:
    """One video in the report's table of verdicts; ``reasons`` are those of rejections."""

    video: EvaluatedVideo
    verdict: VerdictRecord
    timeline: Markup
    reasons: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The video's id up to and including its last slash."""
        return self.video.video_id[: len(self.video.video_id) - len(self.name)]

    @property
    def name(self) -> str:
        """The video's id after its last slash."""
        return self.video.video_id.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """Metrics of every method at one level on one split."""

    level: str
    split: str
    num_rows: int
    lines: tuple[tuple[ThresholdRecord, Mapping[str, MetricRecord]], ...]


def metric_tables(evaluation: Evaluation) -> list[MetricTable]:
    """Return the metrics by split and level, with methods in the order of their thresholds."""
    cells: dict[tuple[str, str, str], dict[str, MetricRecord]] = defaultdict(dict)
    for metric in evaluation.metrics:
        cells[metric.level, metric.split, metric.method][metric.name] = metric
    tables = []
    for split in REPORT_SPLITS:
        for level in ("video", "segment"):
            methods = [row for row in evaluation.thresholds if row.level == level]
            lines = [(row, cells.get((level, split, row.method), {})) for row in methods]
            counts = {cell.num_rows for _, metrics in lines for cell in metrics.values()}
            if counts:
                (num_rows,) = counts
                tables.append(
                    MetricTable(level=level, split=split, num_rows=num_rows, lines=tuple(lines))
                )
    return tables


def validation_curve(evaluation: Evaluation, verdicts: Sequence[VerdictRecord]) -> Markup:
    """Draw the chosen rule's threshold on validation; empty if it was not chosen there."""
    rule = next(row for row in evaluation.thresholds if row.chosen)
    if rule.score is None:
        return Markup()
    chosen_on = set(rule.chosen_on)
    rows = [(v.label, v.p_ah) for v in verdicts if v.video_id in chosen_on]
    labels, p_ah = np.array(rows, dtype=float).T
    return plots.threshold_curve(
        score_steps(labels, p_ah, cast(ScoreName, rule.score_name)),
        rule.threshold,
        rule.low,
        rule.high,
        positives=p_ah[labels > 0].tolist(),
        negatives=p_ah[labels == 0].tolist(),
    )


def confusion_matrices(verdicts: Sequence[VerdictRecord]) -> dict[str, dict[tuple[int, int], int]]:
    """Count videos by (label, verdict) on each split with labels and verdicts."""
    counts: dict[str, dict[tuple[int, int], int]] = {}
    for row in verdicts:
        if row.label is not None and row.verdict is not None:
            empty = {(label, verdict): 0 for label in (0, 1) for verdict in (0, 1)}
            counts.setdefault(row.split or "unsplit", empty)[row.label, row.verdict] += 1
    return {split: counts[split] for split in REPORT_SPLITS if split in counts}


def videos_by_split(
    evaluation: Evaluation,
    verdicts: Sequence[VerdictRecord],
    videos: Sequence[VideoRecord],
    rejected: Sequence[RejectedRecord],
) -> dict[str, list[VideoLine]]:
    """Return the videos by split, each with its timeline and reasons of rejections."""
    annotations: dict[str, VideoRecord] = {video.video_id: video for video in videos}
    segments: dict[str, list[EvaluatedSegment]] = defaultdict(list)
    for segment in evaluation.segments:
        segments[segment.video_id].append(segment)
    reasons = _reasons(evaluation, rejected)
    verdict_of = {row.video_id: row for row in verdicts}
    longest_ms = max((segment.end_ms for segment in evaluation.segments), default=1)
    groups: dict[str, list[VideoLine]] = {split: [] for split in REPORT_SPLITS}
    for video in evaluation.videos:
        video_id = VideoId(video.video_id)
        line = VideoLine(
            video=video,
            verdict=verdict_of[video_id],
            timeline=plots.timeline(
                segments[video_id],
                _annotated(annotations.get(video_id), segments[video_id]),
                longest_ms,
            ),
            reasons=tuple(reasons[video_id]),
        )
        groups.setdefault(video.split, []).append(line)
    return {split: lines for split, lines in groups.items() if lines}


def _annotated(
    video: VideoRecord | None, segments: Sequence[EvaluatedSegment]
) -> tuple[Interval, ...]:
    """Return the intervals that labels come from: within the video, and not withheld."""
    end_ms = max((segment.end_ms for segment in segments), default=0)
    return () if video is None else locate(video, end_ms).intervals


def _reasons(evaluation: Evaluation, rejected: Sequence[RejectedRecord]) -> Mapping[str, list[str]]:
    """Return the reasons of rejections by video, of the whole video or of its segments."""
    video_of = {segment.row_id: segment.video_id for segment in evaluation.segments}
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rejected:
        reasons[video_of.get(row.item_id, row.item_id)].append(f"{row.stage}: {row.reason}")
    return reasons
