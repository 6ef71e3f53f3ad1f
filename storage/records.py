"""The rows that pass between stages up to the manifest: one frozen class for each table.

Times are integer milliseconds on the video's clock, half-open ``[start_ms, end_ms)``. A row points
to its parent by id. ``label`` is 1 where ambivalence or hesitancy (A/H) is present, 0 where it is
not, ``None`` where nobody said.
"""

from dataclasses import dataclass
from typing import Literal, NewType, get_args

from storage.issues import Issue, IssueKind

VideoId = NewType("VideoId", str)
ParticipantId = NewType("ParticipantId", str)
SegmentId = NewType("SegmentId", str)
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
TRANSCRIPT_COLUMNS = ("transcript", "transcript_before")  # a sample's, which hold what was said
AUDIO_SAMPLE_RATE = 16_000  # Hz; a segment's audio is mono 16-bit PCM


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A stretch of a video in which A/H was annotated."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """A source video and what its data set says about it, before anything is opened.

    ``path`` is relative to the data root. ``issues`` lists what the reader repaired or could not
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
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What decoding a source video showed; without a picture it has no frames and no size (0)."""

    video_id: VideoId
    source_digest: str
    duration_ms: int
    num_frames: int
    width: int
    height: int
    has_audio: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimesRecord:
    """When each of a video's frames is shown, from the first (0), until the last one ends.

    ``frame_ms`` holds one time for each shown frame, in order; a segment's frames are those from
    its own ``start_ms`` on, and its bounds are times out of these (or ``end_ms``). A video without
    picture has no such times.
    """

    video_id: VideoId
    frame_ms: tuple[int, ...]
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaHashRecord:
    """What a video looks and sounds like, in words of bits that survive encoding it again.

    ``sound`` is empty for a video without sound, ``picture`` for one without picture.
    """

    video_id: VideoId
    video: tuple[int, ...]
    audio: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """One segment's picture and sound as files in the store.

    Paths are relative to the store's root. ``audio_path`` is ``None`` for a video without sound;
    otherwise the file holds ``num_samples`` samples of 16 kHz mono 16-bit PCM. ``video_path`` is
    ``None`` for a video without picture. One of the two is always there.
    """

    segment_id: SegmentId
    video_id: VideoId
    index: int
    start_ms: int
    end_ms: int
    num_frames: int
    num_samples: int
    video_path: str | None
    audio_path: str | None
    video_digest: str | None
    audio_digest: str | None

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

    ``video_path`` and ``audio_path`` are ``None`` where the video has no such stream.
    ``transcript`` is the text of the segment, ``transcript_before`` the last words of the segments
    before it.
    ``media_digest`` covers picture and sound, ``content_digest`` all that a model may be shown (the
    words, too); neither covers anything of the label.
    ``overlap_fraction`` is the part of the segment, in [0, 1], that annotated intervals cover.
    ``num_segments`` is the number of segments of the whole video.

    ``label_source`` says what the label stands on: ``intervals`` where the annotation says which
    parts of the video show A/H (a video without any says so of all its parts), ``video`` for the
    weak label of a positive video whose intervals nobody gave, ``None`` without a label. A weak
    label is measured nowhere.

    ``in_training`` is true for the rows that a model may learn from: labelled, in split `train`,
    outside the ignore band of the label rule, and not the calm part of a positive video that was
    cut at annotated bounds.
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
    consent_publications: bool | None
    consent_challenges: bool | None
    source_digest: str
    media_digest: str
    content_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPlanRecord:
    """How much the training samples of one label count: a factor of their loss, a share of draws.

    ``sampling`` is ``natural`` (each pass shows every sample once, in a random order) or
    ``balanced`` (both labels by turns). ``num_samples`` are in training.
    """

    label: int
    num_samples: int
    weight: float
    draw_fraction: float
    sampling: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRecord:
    """Something a stage noticed about a video that it could use all the same."""

    video_id: VideoId
    stage: str
    kind: IssueKind
    issue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRecord:
    """A video or segment that a stage could not use, and why."""

    item_id: str
    stage: str
    reason: str
