"""The rows that pass between stages: one frozen class for each table.

Times are integer milliseconds on the video's clock, half-open ``[start_ms, end_ms)``. A row points
to its parent by id. ``label`` is 1 where ambivalence or hesitancy (A/H) is present, 0 where it is
not, ``None`` where nobody said.
"""

from dataclasses import dataclass
from typing import Literal, NewType

VideoId = NewType("VideoId", str)
ParticipantId = NewType("ParticipantId", str)
SegmentId = NewType("SegmentId", str)
Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A stretch of a video in which A/H was annotated."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """A source video and what its data set says about it, before anything is opened.

    ``path`` is relative to the data root. ``issues`` lists what the reader mended or could not
    reconcile in this video's annotation.
    """

    video_id: VideoId
    path: str
    participant_id: ParticipantId | None = None
    split: str | None = None
    question: int | None = None
    label: int | None = None
    intervals: tuple[Interval, ...] = ()
    consent_publications: bool | None = None
    consent_challenges: bool | None = None
    issues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What decoding a source video showed."""

    video_id: VideoId
    source_digest: str
    duration_ms: int
    num_frames: int
    width: int
    height: int
    has_sound: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """One segment's picture and sound as files in the store.

    Paths are relative to the store's root. ``sound_path`` is ``None`` for a video without sound;
    otherwise the file holds ``num_samples`` samples of 16 kHz mono 16-bit PCM.
    """

    segment_id: SegmentId
    video_id: VideoId
    index: int
    start_ms: int
    end_ms: int
    num_frames: int
    num_samples: int
    picture_path: str
    sound_path: str | None
    picture_digest: str
    sound_digest: str | None

    @property
    def duration_ms(self) -> int:
        """The segment's length."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One transcribed word; ``probability`` lies in [0, 1]."""

    text: str
    start_ms: int
    end_ms: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptRecord:
    """A whole video's words in order of time, and the pauses between them.

    ``language`` is ``None`` when the video holds no speech.
    """

    video_id: VideoId
    language: str | None
    words: tuple[Word, ...]
    pauses: tuple[Interval, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """A segment, ready to train or infer on: media, words, label and where it may be used.

    ``content_digest`` covers what a model sees (picture, sound, words) and nothing of the label.
    ``overlap_share`` is the part of the segment, in [0, 1], that annotated intervals cover.
    ``num_segments`` is the number of segments of the whole video.
    """

    segment_id: SegmentId
    video_id: VideoId
    participant_id: ParticipantId | None
    split: str | None
    question: int | None
    index: int
    num_segments: int
    start_ms: int
    end_ms: int
    picture_path: str
    sound_path: str | None
    words: str
    num_words: int
    pause_ms: int
    label: int | None
    video_label: int | None
    overlap_ms: int
    overlap_share: float
    consent_publications: bool | None
    consent_challenges: bool | None
    source_digest: str
    content_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStepRecord:
    """One optimizer step; the validation figures are ``None`` where nothing was measured.

    ``loss`` is the mean cross-entropy of the answer token before the step, ``grad_norm`` the norm
    of the gradients before they were scaled down. ``seconds`` leaves validation out.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    num_samples: int
    seconds: float
    val_loss: float | None = None
    val_macro_f1: float | None = None
    val_average_precision: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A fine-tuned model: Hugging Face folders relative to the store's root, and how it came about.

    ``adapter_path`` is ``None`` after full training. ``best_step`` of ``num_steps`` is the one
    whose weights were saved; the validation figures are of that step, at the threshold 0.5.
    ``num_trained`` of the ``num_parameters`` numbers were trained.
    """

    model_path: str
    adapter_path: str | None
    method: str
    base_fingerprint: str
    num_train_samples: int
    num_val_samples: int
    num_parameters: int
    num_trained: int
    num_steps: int
    best_step: int
    val_loss: float | None
    val_macro_f1: float | None
    val_average_precision: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """The model's answer about one segment.

    ``p_ah = softmax(logp_yes, logp_no)[yes]`` at the first generated position. ``answer_mass`` is
    the probability that Yes and No hold together, in [0, 1]. Token counts are of the whole request.
    """

    segment_id: SegmentId
    video_id: VideoId
    p_ah: float
    logp_yes: float
    logp_no: float
    answer_mass: float
    num_text_tokens: int
    num_picture_tokens: int
    num_sound_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecord:
    """A whole video's pooled probability under one pooling rule, and the verdict at its threshold.

    ``num_predicted`` of the video's ``num_segments`` have a prediction; with none of them ``p_ah``
    and ``verdict`` are ``None``. The verdict is 1 where ``p_ah >= threshold``.
    """

    video_id: VideoId
    split: str | None
    pooling_rule: str
    num_segments: int
    num_predicted: int
    p_ah: float | None
    threshold: float
    verdict: int | None
    label: int | None
    chosen: bool
    consent_publications: bool | None = None
    consent_challenges: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRecord:
    """One method's threshold, and what it was chosen on.

    ``method`` is a pooling rule, ``segment`` (the model's answers unpooled) or a baseline;
    ``level`` is ``video`` or ``segment``. Every threshold in ``(low, high]`` is as good, or nearly
    so, on the labelled validation rows of the videos ``chosen_on``; ``score`` and
    ``average_precision`` are the figures there. With no such rows these are ``None`` and
    ``reason`` says why. ``chosen`` marks the pooling rule whose verdicts count.
    """

    method: str
    level: str
    threshold: float
    threshold_rule: str
    reason: str
    low: float | None
    high: float | None
    score_name: str
    score: float | None
    average_precision: float | None
    chosen: bool
    chosen_on: tuple[VideoId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRecord:
    """One figure of one pooling rule or baseline on one split, with its interval.

    ``value`` is ``None`` where the figure is undefined on these rows (an average precision without
    positives), ``low`` and ``high`` where there are too few participants to resample.
    """

    name: str
    method: str
    split: str
    level: str
    value: float | None
    low: float | None
    high: float | None
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRecord:
    """Something a stage noticed about a video that it could use all the same."""

    video_id: VideoId
    stage: str
    issue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRecord:
    """A video or segment that a stage could not use, and why."""

    item_id: str
    stage: str
    reason: str
