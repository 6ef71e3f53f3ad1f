"""The rows that pass between stages up to the manifest: one frozen class for each table.

Times are integer milliseconds on the video's clock, half-open ``[start_ms, end_ms)``. A row points
to its parent by id. ``label`` is 1 if ambivalence or hesitancy (A/H) is present, 0 if not, and
``None`` if unknown. Digests are 32 hexadecimal digits.
"""

from dataclasses import dataclass
from typing import Literal, NewType, get_args

from storage.issues import Issue, IssueKind

VideoId = NewType("VideoId", str)
ParticipantId = NewType("ParticipantId", str)
SegmentId = NewType("SegmentId", str)
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
TRANSCRIPT_COLUMNS = ("transcript", "transcript_before")  # of a `SampleRecord`
AUDIO_SAMPLE_RATE = 16_000  # Hz; a segment's audio is mono 16-bit PCM


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An annotated interval of A/H, or a pause in speech."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """A source video and its annotation, before the file is opened.

    Attributes:
        path: Relative to the data root.
        split: As the data set assigns it; ``None`` if it assigns none.
        question: Which of the study's questions is answered, 1 to 7.
        intervals: Sorted, disjoint intervals of A/H.
        negative_intervals: Sorted, disjoint intervals without A/H. Where there are any, time in
            neither kind of interval is unknown; otherwise it is without A/H.
        consent_publications: Whether the participant agreed to publications; ``None`` if unknown.
        consent_challenges: Whether the participant agreed to challenges; ``None`` if unknown.
        issues: What the reader repaired or could not reconcile in the annotation.
    """

    video_id: VideoId
    path: str
    participant_id: ParticipantId | None = None
    split: str | None = None
    question: int | None = None
    label: int | None = None
    intervals: tuple[Interval, ...] = ()
    negative_intervals: tuple[Interval, ...] = ()
    consent_publications: bool | None = None
    consent_challenges: bool | None = None
    issues: tuple[Issue, ...] = ()

    @property
    def has_lost_annotation(self) -> bool:
        """True if part of the annotation was lost or contradicts itself.

        An empty interval does not contradict the label 0.
        """
        kinds = {issue.kind for issue in self.issues if issue.kind.withholds_labels}
        return bool(kinds - {IssueKind.INTERVAL_EMPTY} if self.label == 0 else kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One recognized word and its probability, in [0, 1]."""

    text: str
    start_ms: int
    end_ms: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptRecord:
    """The words of a whole video and the pauses between them, in order of time.

    Attributes:
        language: ISO 639-1 code; ``None`` without speech.
    """

    video_id: VideoId
    language: str | None
    words: tuple[Word, ...]
    pauses: tuple[Interval, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """A segment, ready for training and inference: media, transcript, label and consent.

    Attributes:
        num_segments: Segments of the whole video.
        video_path: As in `SegmentRecord`, like ``audio_path``.
        transcript: The words of the segment.
        transcript_before: The last words before the segment.
        num_words: Words of ``transcript``.
        pause_ms: Duration of the pauses in the segment.
        label: The segment's label, by the label rule; ``None`` where that depends on time whose
            annotation is unknown.
        label_source: ``intervals`` if annotated intervals decide the label (a video labeled 0 has
            none), ``video`` for the weak label of a positive video without annotated intervals,
            which is not used in evaluation, ``None`` without a label.
        in_training: Whether the sample may be trained on: labeled, in split ``train``, outside the
            label rule's ignore band, and not a negative segment of a positive video that was cut
            at annotated interval boundaries.
        video_label: The label of the whole video.
        overlap_ms: Duration of the annotated intervals in the segment.
        overlap_fraction: ``overlap_ms`` as a fraction of the segment, in [0, 1].
        interval_fraction: Largest fraction of one annotated interval that is in the segment, in
            [0, 1].
        unknown_ms: Duration of the segment's time for which the annotation leaves open whether it
            shows A/H.
        source_digest: Digest of the source video's file.
        media_digest: Digest of the segment's video and audio.
        content_digest: Digest of all model input: media and transcripts, but never the label.
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
    video_path: str | None
    audio_path: str | None
    transcript: str
    transcript_before: str
    num_words: int
    pause_ms: int
    label: int | None
    label_source: str | None
    in_training: bool
    video_label: int | None
    overlap_ms: int
    overlap_fraction: float
    interval_fraction: float
    unknown_ms: int
    consent_publications: bool | None
    consent_challenges: bool | None
    source_digest: str
    media_digest: str
    content_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPlanRecord:
    """The class balance of training: one row per label.

    Attributes:
        num_samples: Training samples with this label.
        weight: Factor of their loss.
        draw_fraction: Fraction of the sampled rows that have this label, in [0, 1].
        sampling: ``natural`` (each epoch draws every sample once, shuffled) or ``balanced`` (the
            labels alternate).
    """

    label: int
    num_samples: int
    weight: float
    draw_fraction: float
    sampling: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRecord:
    """A problem of a video that a stage used nevertheless."""

    video_id: VideoId
    stage: str
    kind: IssueKind
    issue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRecord:
    """A video or segment that a stage could not use, with the reason."""

    item_id: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransientRecord:
    """A rejected item whose reason may pass, so that it is worth another try.

    It stands beside the item's `RejectedRecord`; parts without any have no such table.
    """

    item_id: str
