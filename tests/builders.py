"""Builders of valid records: every field has a default, and keywords override it."""

from typing import Any

from storage.media_records import MediaFacts, SegmentRecord
from storage.records import (
    SampleRecord,
    SegmentId,
    TranscriptRecord,
    VideoId,
    VideoRecord,
    Word,
)
from storage.results import (
    MetricRecord,
    ModelRecord,
    PredictionRecord,
    ThresholdRecord,
    TrainingStepRecord,
)
from storage.store.journal import StageRun

SEGMENT_MS = 4_000


def a_video(video_id: str = "a.mp4", **fields: Any) -> VideoRecord:
    """Build a video without annotation, stored at the path that is its id."""
    return VideoRecord(video_id=VideoId(video_id), **({"path": video_id} | fields))


def media_facts(video_id: str = "a.mp4", **fields: Any) -> MediaFacts:
    """Build the facts of a 4 s video with 20 frames and an audio track."""
    defaults = {
        "source_digest": f"source {video_id}", "duration_ms": SEGMENT_MS, "num_frames": 20,
        "width": 4, "height": 4, "has_audio": True,
    }  # fmt: skip
    return MediaFacts(video_id=VideoId(video_id), **(defaults | fields))


def a_segment(video_id: str = "a.mp4", index: int = 0, **fields: Any) -> SegmentRecord:
    """Build a 4 s segment with video and audio; consecutive indices are adjacent."""
    bounds = _bounds(index, fields)
    segment_id = f"{video_id}#{index:04d}"
    defaults = bounds | _media_paths(segment_id) | {
        "segment_id": SegmentId(segment_id), "num_frames": 25,
        "num_samples": 16 * (bounds["end_ms"] - bounds["start_ms"]),
        "video_digest": f"video {segment_id}", "audio_digest": f"audio {segment_id}",
    }  # fmt: skip
    return SegmentRecord(video_id=VideoId(video_id), index=index, **(defaults | fields))


def a_word(text: str, start_ms: int, end_ms: int, probability: float = 0.9) -> Word:
    """Build a transcribed word."""
    return Word(text=text, start_ms=start_ms, end_ms=end_ms, probability=probability)


def a_transcript(video_id: str = "a.mp4", *words: Word, **fields: Any) -> TranscriptRecord:
    """Build an English transcript without pauses."""
    defaults = {"language": "en", "words": words, "pauses": ()}
    return TranscriptRecord(video_id=VideoId(video_id), **(defaults | fields))


def a_sample(video_id: str = "a.mp4", index: int = 0, **fields: Any) -> SampleRecord:
    """Build an unlabeled 4 s sample with video, audio and no transcript.

    A label, if given, is annotated by intervals and is the whole video's, and samples of split
    train with a label are in training.
    """
    segment_id = f"{video_id}#{index:04d}"
    label = fields.get("label")
    defaults = _bounds(index, fields) | _media_paths(segment_id) | {
        "segment_id": SegmentId(segment_id), "participant_id": None, "split": None,
        "question": None, "num_segments": 1, "transcript": "", "transcript_before": "",
        "num_words": len(fields.get("transcript", "").split()), "pause_ms": 0, "label": None,
        "label_source": None if label is None else "intervals",
        "in_training": label is not None and fields.get("split") == "train",
        "video_label": label, "overlap_ms": 0, "overlap_fraction": 0.0,
        "interval_fraction": 0.0, "unknown_ms": 0,
        "consent_publications": None, "consent_challenges": None,
        "source_digest": f"source {video_id}", "media_digest": f"media {segment_id}",
        "content_digest": f"content {segment_id}",
    }  # fmt: skip
    return SampleRecord(video_id=VideoId(video_id), index=index, **(defaults | fields))


def sample_of(video: VideoRecord, index: int = 0, **fields: Any) -> SampleRecord:
    """Build a sample of a video: its participant, split, question and label."""
    inherited = {
        "participant_id": video.participant_id, "split": video.split, "question": video.question,
        "label": video.label, "video_label": video.label,
    }  # fmt: skip
    return a_sample(video.video_id, index, **(inherited | fields))


def a_prediction(
    segment_id: str = "a.mp4#0000", p_ah: float = 0.5, **fields: Any
) -> PredictionRecord:
    """Build a prediction from video, audio and transcript; the segment's id names its video."""
    defaults = {
        "video_id": VideoId(segment_id.rpartition("#")[0]), "logp_yes": -1.0, "logp_no": -1.0,
        "answer_mass": 1.0, "num_text_tokens": 1, "num_video_tokens": 1, "num_audio_tokens": 1,
    }  # fmt: skip
    return PredictionRecord(segment_id=SegmentId(segment_id), p_ah=p_ah, **(defaults | fields))


def a_training_step(step: int = 1, **fields: Any) -> TrainingStepRecord:
    """Build an optimizer step of four samples without validation."""
    defaults = {
        "loss": 0.5, "grad_norm": 1.0, "learning_rate": 1e-3, "num_samples": 4, "seconds": 0.5,
    }  # fmt: skip
    return TrainingStepRecord(step=step, **(defaults | fields))


def a_model(model_path: str = "model", **fields: Any) -> ModelRecord:
    """Build a fully fine-tuned model after one step, without validation figures."""
    defaults = {
        "adapter_path": None, "method": "full", "base_fingerprint": "base",
        "num_train_samples": 1, "num_val_samples": 1, "num_parameters": 1, "num_trained": 1,
        "num_steps": 1, "best_step": 1, "val_loss": None, "val_macro_f1": None,
        "val_average_precision": None,
    }  # fmt: skip
    return ModelRecord(model_path=model_path, **(defaults | fields))


def a_threshold(method: str = "mean", **fields: Any) -> ThresholdRecord:
    """Build a chosen pooling rule's threshold, selected on nine validation rows."""
    defaults = {
        "level": "video", "threshold": 0.5, "threshold_rule": "plateau",
        "reason": "plateau on 9 validation rows", "low": 0.4, "high": 0.6,
        "score_name": "macro_f1", "score": 0.8, "average_precision": 0.7, "chosen": True,
        "chosen_on": (),
    }  # fmt: skip
    return ThresholdRecord(method=method, **(defaults | fields))


def a_metric(value: float | None = 0.8, **fields: Any) -> MetricRecord:
    """Build the macro F1 of mean pooling on nine test videos, without an interval."""
    defaults = {
        "name": "macro_f1", "method": "mean", "split": "test", "level": "video", "low": None,
        "high": None, "num_rows": 9,
    }  # fmt: skip
    return MetricRecord(value=value, **(defaults | fields))


def _bounds(index: int, fields: dict[str, Any]) -> dict[str, int]:
    """Return a segment's bounds: those that are given, else the index-th 4 s of a video."""
    start_ms = fields.get("start_ms", index * SEGMENT_MS)
    return {"start_ms": start_ms, "end_ms": fields.get("end_ms", start_ms + SEGMENT_MS)}


def _media_paths(segment_id: str) -> dict[str, str]:
    return {"video_path": f"files/{segment_id}.mp4", "audio_path": f"files/{segment_id}.wav"}


def a_stage_run(**fields: Any) -> StageRun:
    defaults: dict[str, Any] = {
        "stage": "segment", "variant_id": "0123456789ab", "started_at": 1_700_000_000.0,
        "seconds": 10.0, "cpu_seconds": 20.0, "num_expected": 9, "num_cached": 4,
        "num_computed": 5, "num_rejected": 0, "num_segments": 10, "video_ms": 40_000,
        "bytes_written": 1_000, "num_cpus": 2, "num_gpus": 0, "host": "01234567",
    }  # fmt: skip
    return StageRun(**defaults | fields)
