"""The rows that models and verdicts leave: training, predictions, thresholds, verdicts and figures.

As in `storage.records`: ``label`` is 1 where A/H is present, and a row points to its parent by id.
"""

from dataclasses import dataclass

from storage.records import SegmentId, VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One line of a data set's audit.

    ``subject`` is "count" (``name`` is a measure), "finding" (``name`` is an issue's kind) or
    "not examined". ``split`` is ``None`` for the whole data set, "unsplit" for what is in none.
    ``examples`` name videos, splits or files of the data set, never what was said in them.
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
    """One optimizer step; the validation figures are ``None`` where nothing was measured.

    ``loss`` is the mean cross-entropy of the answer token before the step, weighted by the class
    plan, ``grad_norm`` the norm of the gradients before they were scaled down. Before its
    ``seconds``, which leave validation out, a step waited ``wait_seconds`` for its rows, which hold
    ``num_tokens``; ``padding_fraction`` of the positions that the model computed were padding.
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
class TrainedOnRecord:
    """A participant whose samples a model learnt from (`train`) or was chosen on (`val`).

    ``participant_digest`` is `forgotten.digest_of_participant` with the store's salt: it finds a
    participant's models for whoever knows the id. It keeps an id from being read, not from being
    tried by who has the store; a try takes some milliseconds.
    """

    participant_digest: str
    split: str
    num_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """The model's answer about one segment.

    ``p_ah = softmax(logp_yes, logp_no)[yes]`` at the first generated position. ``answer_mass`` is
    the probability that Yes and No hold together, in [0, 1]. Token counts are of the whole request.
    ``has_video`` and ``has_audio`` say what the model was shown of the segment, beside its words.
    Where that is less than the settings show, its `SampleRecord` tells why: there is no path, or
    the path of a file that cannot be decoded.
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
class MemberRecord:
    """What one model of an ensemble reaches by itself on a split's labelled videos.

    ``threshold`` is the model's own, under the pooling rule that was chosen for all together. One
    ``model``, "ensemble", is the ensemble itself.
    """

    model: str
    split: str
    pooling_rule: str
    threshold: float
    macro_f1: float | None
    average_precision: float | None
    num_rows: int
