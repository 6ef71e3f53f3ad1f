"""The rows of training, inference and aggregation: one frozen class for each table.

As in `storage.records`, ``label`` is 1 if A/H is present, and a row points to its parent by id.
Metrics (F1, average precision) are in [0, 1].
"""

from dataclasses import dataclass

from storage.records import SegmentId, VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One line of a data set's audit.

    Attributes:
        subject: ``count`` of a measure, ``finding`` of an issue, or ``not examined``.
        split: ``None`` for the whole data set, ``unsplit`` for videos in no split.
        name: A measure, or the name of an `IssueKind`.
        value: The count or measure; ``None`` if undefined.
        invalidates: Whether metrics on this data set cannot be trusted.
        meaning: A sentence for the reader.
        examples: Names of videos, splits or files, never transcripts.
    """

    subject: str
    split: str | None
    name: str
    value: float | None
    invalidates: bool
    meaning: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStepRecord:
    """One optimizer step, and the validation after it, if any.

    Attributes:
        loss: Mean cross-entropy of the answer token before the step, with class weights.
        grad_norm: L2 norm of the gradients before clipping.
        num_samples: Samples of the step.
        seconds: Duration of the step, without waiting and validation.
        num_tokens: Tokens of the step, without padding.
        padding_fraction: Fraction of the computed positions that were padding, in [0, 1].
        wait_seconds: Time spent waiting for data before the step.
        val_loss: As ``loss``, on the validation samples; ``None`` without validation.
        val_macro_f1: At the threshold 0.5, in [0, 1]; ``None`` without validation.
        val_average_precision: In [0, 1]; ``None`` without validation.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    num_samples: int
    seconds: float
    num_tokens: int = 0
    padding_fraction: float = 0.0
    wait_seconds: float = 0.0
    val_loss: float | None = None
    val_macro_f1: float | None = None
    val_average_precision: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A fine-tuned model.

    Attributes:
        model_path: Hugging Face folder of the whole model, relative to the store's root.
        adapter_path: PEFT folder of the adapter; ``None`` after full training.
        method: How it was trained, such as ``lora`` or ``full``.
        base_fingerprint: Fingerprint of the base model's files.
        num_parameters: All parameters, of which ``num_trained`` were trained.
        num_steps: Optimizer steps of the training, of which ``best_step`` was saved.
        val_loss: At ``best_step``, as the other validation metrics, with the threshold 0.5.
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
class TrainedOnRecord:
    """A participant whose samples a model was trained on (``train``) or selected by (``val``).

    Attributes:
        participant_digest: `storage.datasets.erased.digest_of_participant` with the store's salt.
            It finds the models of a known id, and hides ids except from someone who tries them
            one by one, at some milliseconds each.
    """

    participant_digest: str
    split: str
    num_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """The model's prediction for one segment.

    Attributes:
        p_ah: ``softmax(logp_yes, logp_no)[yes]`` at the first generated position, in [0, 1].
        logp_yes: Log-probability of the answer token for "Yes".
        logp_no: Log-probability of the answer token for "No".
        answer_mass: Probability of both answer tokens together, in [0, 1].
        num_text_tokens: Text tokens of the whole request.
        num_video_tokens: Video tokens of the whole request.
        num_audio_tokens: Audio tokens of the whole request.
        has_video: Whether the request contained video; ``False`` if the settings exclude it, or if
            the segment's file is missing or damaged.
        has_audio: Likewise for audio.
    """

    segment_id: SegmentId
    video_id: VideoId
    p_ah: float
    logp_yes: float
    logp_no: float
    answer_mass: float
    num_text_tokens: int
    num_video_tokens: int
    num_audio_tokens: int
    has_video: bool = True
    has_audio: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecord:
    """A video's verdict under one pooling rule.

    Attributes:
        num_segments: Segments of the video, of which ``num_predicted`` have a prediction.
        p_ah: Pooled probability of A/H, in [0, 1]; ``None`` without a prediction.
        threshold: The pooling rule's threshold.
        verdict: 1 if ``p_ah >= threshold``, else 0; ``None`` without a prediction.
        label: The label of the video.
        chosen: Whether this pooling rule is the selected one.
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
    """The threshold of one method, and the validation rows it was selected on.

    Attributes:
        method: A pooling rule, ``segment`` (predictions without pooling) or a baseline.
        level: ``video`` or ``segment``.
        threshold_rule: The rule that selected the threshold, or ``fixed``.
        reason: Why the threshold has this value.
        low: Thresholds in ``(low, high]`` are equally good, or nearly so; ``None`` without rows.
        high: See ``low``.
        score_name: The metric that was maximized.
        score: Its value at the threshold; ``None`` without rows.
        average_precision: On the same rows; ``None`` without rows.
        chosen: Whether this is the selected pooling rule.
        chosen_on: The labeled validation videos.
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
    """One metric of one pooling rule or baseline on one split, with a confidence interval.

    Attributes:
        level: ``video`` or ``segment``.
        value: ``None`` if undefined, such as average precision without positives.
        low: Lower bound of the interval; ``None`` with too few participants to resample.
        high: Upper bound, likewise.
        num_rows: Labeled rows that were evaluated.
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
class MemberRecord:
    """The metrics of one model of an ensemble on a split's labeled videos.

    Attributes:
        model: The model's name, or ``together`` for the ensemble itself.
        pooling_rule: The one selected for the ensemble.
        threshold: The model's own, under that pooling rule.
    """

    model: str
    split: str
    pooling_rule: str
    threshold: float
    macro_f1: float | None
    average_precision: float | None
    num_rows: int
