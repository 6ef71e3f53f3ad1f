"""Verdicts on single videos, assembled from the records of the stages."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.media_records import MediaFacts
from storage.records import (
    TRANSCRIPT_COLUMNS,
    RejectedRecord,
    SampleRecord,
    VideoRecord,
)
from storage.results import PredictionRecord, ThresholdRecord, VerdictRecord
from storage.schema import to_table, write_parquet
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.evaluation.evaluation import EvaluationPlan, evaluate
from tasks.prediction.document import PredictedSegment, PredictedVideo, Verdict, VerdictRule


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutputs:
    """Records that the stages wrote about the videos to predict."""

    videos: Sequence[VideoRecord]
    file_digests: Mapping[str, str]
    facts: Sequence[MediaFacts]
    samples: Sequence[SampleRecord]
    predictions: Sequence[PredictionRecord]
    rejected: Sequence[RejectedRecord]


def score_videos(
    outputs: StageOutputs, plan: EvaluationPlan, earlier: EarlierSelection | None, folder: Path
) -> tuple[VerdictRule, dict[str, Verdict]]:
    """Return the rule and every video's verdict, as a run without labels computes them.

    ``folder`` is empty and takes temporary files.
    """
    samples_path, predictions_path = folder / "samples.parquet", folder / "predictions.parquet"
    samples = to_table(SampleRecord, outputs.samples).drop_columns(list(TRANSCRIPT_COLUMNS))
    write_parquet(samples, samples_path)
    write_parquet(to_table(PredictionRecord, outputs.predictions), predictions_path)
    evaluation = evaluate(samples_path, predictions_path, outputs.videos, plan, earlier)
    rule = next(row for row in evaluation.thresholds if row.chosen)
    verdicts = {str(row.video_id): _verdict(row) for row in evaluation.verdicts if row.chosen}
    return _rule(rule, plan.top_k, is_earlier=earlier is not None), verdicts


def _rule(record: ThresholdRecord, top_k: int, *, is_earlier: bool) -> VerdictRule:
    return VerdictRule(
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
    outputs: StageOutputs, verdicts: Mapping[str, Verdict]
) -> tuple[PredictedVideo, ...]:
    """Return each video with its verdict and segments, in the order of the videos."""
    samples: dict[str, list[SampleRecord]] = defaultdict(list)
    for sample in outputs.samples:
        samples[sample.video_id].append(sample)
    predictions = {row.segment_id: row for row in outputs.predictions}
    reasons = {row.item_id: row.reason for row in outputs.rejected}
    facts = {row.video_id: row for row in outputs.facts}
    return tuple(
        PredictedVideo(
            path=video.video_id,
            file_digest=outputs.file_digests[video.video_id],
            duration_ms=known.duration_ms if known else None,
            rejected=reasons.get(video.video_id),
            warnings=_warnings_of(known) if known else (),
            verdict=verdicts[video.video_id],
            segments=tuple(
                _segment(sample, predictions.get(sample.segment_id), reasons.get(sample.segment_id))
                for sample in samples[video.video_id]
            ),
        )
        for video in outputs.videos
        for known in [facts.get(video.video_id)]
    )


def _warnings_of(facts: MediaFacts) -> tuple[str, ...]:
    has_stream = facts.has_audio or facts.audio_quality is not None  # lost audio has its warning
    return facts.warnings if has_stream else (*facts.warnings, "the file has no audio")


def _segment(
    sample: SampleRecord, prediction: PredictionRecord | None, reason: str | None
) -> PredictedSegment:
    return PredictedSegment(
        index=sample.index,
        start_ms=sample.start_ms,
        end_ms=sample.end_ms,
        transcript=sample.transcript,
        p_ah=prediction.p_ah if prediction else None,
        answer_mass=prediction.answer_mass if prediction else None,
        has_video=prediction is not None and prediction.has_video,
        has_audio=prediction is not None and prediction.has_audio,
        rejected=reason,
    )
