"""Rows of the stages put together to one answer a video, judged by one rule."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.records import (
    TRANSCRIPT_COLUMNS,
    MediaFacts,
    RejectedRecord,
    SampleRecord,
    VideoRecord,
)
from storage.results import PredictionRecord, ThresholdRecord, VerdictRecord
from storage.schema import to_table, write_parquet
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.evaluation.evaluation import EvaluationPlan, evaluate
from tasks.prediction.document import PredictedSegment, PredictedVideo, Rule, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutputs:
    """What the stages left of the videos that were asked about."""

    videos: Sequence[VideoRecord]
    file_digests: Mapping[str, str]
    facts: Sequence[MediaFacts]
    samples: Sequence[SampleRecord]
    predictions: Sequence[PredictionRecord]
    rejected: Sequence[RejectedRecord]


def score_videos(
    answered: StageOutputs, plan: EvaluationPlan, earlier: EarlierSelection | None, folder: Path
) -> tuple[Rule, dict[str, Verdict]]:
    """Pool and judge every video as a run without labels does, in the empty ``folder``."""
    samples_path, predictions_path = folder / "samples.parquet", folder / "predictions.parquet"
    unspoken = to_table(SampleRecord, answered.samples).drop_columns(list(TRANSCRIPT_COLUMNS))
    write_parquet(unspoken, samples_path)
    write_parquet(to_table(PredictionRecord, answered.predictions), predictions_path)
    evaluation = evaluate(samples_path, predictions_path, answered.videos, plan, earlier)
    rule = next(row for row in evaluation.thresholds if row.chosen)
    verdicts = {str(row.video_id): _verdict(row) for row in evaluation.verdicts if row.chosen}
    return _rule(rule, plan.top_k, is_earlier=earlier is not None), verdicts


def _rule(record: ThresholdRecord, top_k: int, *, is_earlier: bool) -> Rule:
    return Rule(
        pooling_rule=record.method,
        top_k=top_k if record.method == "top_k_mean" else None,
        threshold=record.threshold,
        chosen_on="validation" if is_earlier else "nothing",
        reason=record.reason,
    )


def _verdict(record: VerdictRecord) -> Verdict:
    return Verdict(
        present=None if record.verdict is None else bool(record.verdict),
        p_ah=record.p_ah,
        pooling_rule=record.pooling_rule,
        threshold=record.threshold,
        num_segments=record.num_segments,
        num_predicted=record.num_predicted,
    )


def assemble_videos(
    answered: StageOutputs, verdicts: Mapping[str, Verdict]
) -> tuple[PredictedVideo, ...]:
    """Give each video with its segments, in the videos' order."""
    samples: dict[str, list[SampleRecord]] = defaultdict(list)
    for sample in answered.samples:
        samples[sample.video_id].append(sample)
    answers = {row.segment_id: row for row in answered.predictions}
    reasons = {row.item_id: row.reason for row in answered.rejected}
    facts = {row.video_id: row for row in answered.facts}
    return tuple(
        PredictedVideo(
            path=video.video_id,
            file_digest=answered.file_digests[video.video_id],
            duration_ms=known.duration_ms if known else None,
            rejected=reasons.get(video.video_id),
            warnings=_warnings_of(known) if known else (),
            verdict=verdicts[video.video_id],
            segments=tuple(
                _segment(sample, answers.get(sample.segment_id), reasons.get(sample.segment_id))
                for sample in samples[video.video_id]
            ),
        )
        for video in answered.videos
        for known in [facts.get(video.video_id)]
    )


def _warnings_of(facts: MediaFacts) -> tuple[str, ...]:
    return facts.warnings if facts.has_audio else (*facts.warnings, "the file has no sound")


def _segment(
    sample: SampleRecord, answer: PredictionRecord | None, reason: str | None
) -> PredictedSegment:
    return PredictedSegment(
        index=sample.index,
        start_ms=sample.start_ms,
        end_ms=sample.end_ms,
        transcript=sample.transcript,
        p_ah=answer.p_ah if answer else None,
        answer_mass=answer.answer_mass if answer else None,
        has_video=answer is not None and answer.has_video,
        has_audio=answer is not None and answer.has_audio,
        rejected=reason,
    )
