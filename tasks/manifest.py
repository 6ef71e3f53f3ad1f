"""Stage 3, manifest: one typed row per segment, ready for training or inference.

In: segments, transcripts, and each video's record in the data set. Out: `SampleRecord` rows with
paths, times, the transcript and what precedes it, label by overlap, participant, split, question,
consent and digests. Annotation that does not fit its video, segments that have no label because of
it, and positive videos without a positive segment are reported in `IssueRecord` rows. When all
videos are done, one more item, `class plan`, holds the class weights and sampling of training
(`ClassPlanRecord`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from storage.fingerprint import digest_of
from storage.issues import Issue, IssueKind
from storage.media_records import SegmentRecord
from storage.records import (
    Interval,
    IssueRecord,
    SampleRecord,
    TranscriptRecord,
    VideoId,
    VideoRecord,
    Word,
)
from storage.schema import to_plain
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.labels.annotation import LocatedAnnotation, locate
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.labels.label_issues import issues_of_labels
from tasks.labels.label_rule import LabelRule, SegmentLabel, label_segment
from tasks.labels.overlap import measure_overlap, overlap_ms
from tasks.labels.split_assignment import SplitRule
from tasks.speech.word_alignment import words_before_segments, words_of_segments
from tasks.stage import Shard, as_state, compute_missing, or_rejected

STAGE = "manifest"
VERSION = 6
PLAN_ITEM = "class plan"


class ManifestConfig(ClassRule, SplitRule, LabelRule):
    """Settings of labels, splits, class balance in training, and the preceding transcript."""

    max_words_before: int = Field(default=50, ge=0)
    """Maximum number of words of `transcript_before`, for prompts that quote it."""
    accept_duplicates: str = ""
    """File of pairs of videos that are no copies of each other although they look like it: two
    video ids a line, separated by a comma."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInputs:
    """Everything that one video's samples are built from, with its assigned split.

    ``cut_at_bounds`` is true if its segments were cut at the bounds of annotated intervals.
    ``accepted_duplicates`` are the videos that the user accepts as no copies of it.
    """

    video: VideoRecord
    source_digest: str
    segments: tuple[SegmentRecord, ...]
    transcript: TranscriptRecord
    cut_at_bounds: bool = False
    accepted_duplicates: tuple[VideoId, ...] = ()

    @property
    def digest(self) -> str:
        """Digest of everything that determines the samples: media, transcript and annotation."""
        return digest_of(
            self.source_digest,
            to_plain(self.video),
            to_plain(self.transcript),
            [(s.video_digest, s.audio_digest, s.start_ms, s.end_ms) for s in self.segments],
            self.cut_at_bounds,
            self.accepted_duplicates,
        )


def variant_of(
    store: Store, config: ManifestConfig, *, segment: Variant, transcribe: Variant
) -> Variant:
    """Open the variant of these settings, segments and transcripts.

    Class weights and sampling change no sample, only the digest of the class plan; accepted
    duplicates are part of the digest of the videos concerned.
    """
    return open_variant(
        store,
        STAGE,
        version=VERSION,
        settings=config.model_dump(exclude={*ClassRule.model_fields, "accept_duplicates"}),
        upstream=(segment.variant_id, transcribe.variant_id),
    )


def sample_videos(
    video_ids: Sequence[str], inputs: Mapping[str, VideoInputs], config: ManifestConfig
) -> Iterator[ItemOutput]:
    """Yield each video's samples and issues."""
    for video_id in video_ids:
        yield or_rejected(STAGE, video_id, partial(_sample_video, inputs[video_id], config))


def _sample_video(inputs: VideoInputs, config: ManifestConfig) -> ItemOutput:
    video_id = inputs.video.video_id
    annotation, samples = _annotation_of(inputs), list(samples_of(inputs, config))
    accepted = [
        Issue(IssueKind.ACCEPTED_DUPLICATE, f"accepted as no copy of {other!r}")
        for other in inputs.accepted_duplicates
    ]
    issues = (*annotation.issues, *issues_of_labels(inputs.video, annotation, samples, config))
    records = [
        IssueRecord(video_id=video_id, stage=STAGE, kind=issue.kind, issue=issue.detail)
        for issue in (*issues, *accepted)
    ]
    return ItemOutput(item_id=video_id, rows=(*samples, *records))


def _annotation_of(inputs: VideoInputs) -> LocatedAnnotation:
    end_ms = max((segment.end_ms for segment in inputs.segments), default=0)
    return locate(inputs.video, end_ms)


def samples_of(inputs: VideoInputs, config: ManifestConfig) -> Iterator[SampleRecord]:
    """Build a video's samples: assign words and labels to its segments."""
    video, segments = inputs.video, sorted(inputs.segments, key=lambda s: s.index)
    annotation = _annotation_of(inputs)
    words_by_segment = words_of_segments(inputs.transcript.words, segments)
    transcript_before = words_before_segments(words_by_segment, config.max_words_before)
    for segment, words, before in zip(segments, words_by_segment, transcript_before, strict=True):
        overlap = measure_overlap(segment.start_ms, segment.end_ms, annotation)
        label = label_segment(annotation, overlap, config)
        text, text_before = _text_of(words), _text_of(before)
        yield SampleRecord(
            segment_id=segment.segment_id,
            video_id=segment.video_id,
            participant_id=video.participant_id,
            split=video.split,
            question=video.question,
            index=segment.index,
            num_segments=len(segments),
            start_ms=segment.start_ms,
            end_ms=segment.end_ms,
            video_path=segment.video_path,
            audio_path=segment.audio_path,
            transcript=text,
            transcript_before=text_before,
            num_words=len(words),
            pause_ms=_pause_ms(segment, inputs.transcript.pauses),
            label=label.label,
            label_source=label.source,
            in_training=video.split == "train" and _is_trainable(label, inputs),
            video_label=annotation.label,
            overlap_ms=overlap.ms,
            overlap_fraction=overlap.fraction,
            interval_fraction=overlap.interval_fraction,
            unknown_ms=overlap.unknown_ms,
            consent_publications=video.consent_publications,
            consent_challenges=video.consent_challenges,
            source_digest=inputs.source_digest,
            media_digest=digest_of(segment.video_digest, segment.audio_digest),
            content_digest=digest_of(segment.video_digest, segment.audio_digest, text, text_before),
        )


def _text_of(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _is_trainable(labeled: SegmentLabel, inputs: VideoInputs) -> bool:
    """Return whether a segment is labeled, outside the ignore band, and not revealed by its length.

    Between annotated bounds, the lengths of a positive video's negative segments reveal their
    label; the paper excludes them (arXiv 2603.13406).
    """
    is_revealed = inputs.cut_at_bounds and bool(inputs.video.intervals) and labeled.label == 0
    return labeled.label is not None and not labeled.in_ignore_band and not is_revealed


def _pause_ms(segment: SegmentRecord, pauses: Sequence[Interval]) -> int:
    return overlap_ms(segment.start_ms, segment.end_ms, pauses)


def expected_plan(samples: Sequence[SampleRecord], config: ManifestConfig) -> dict[str, str]:
    """Return the class plan's item with its digest; empty without training samples."""
    trained = [(sample.segment_id, sample.label) for sample in samples if sample.in_training]
    rule = config.model_dump(include=set(ClassRule.model_fields))
    return {PLAN_ITEM: digest_of(rule, trained)} if trained else {}


@task(name="manifest", task_run_name="manifest shard {shard.title}", cache_policy=NO_CACHE)
def manifest_shard(
    shard: Shard, inputs: Mapping[str, VideoInputs], config: ManifestConfig, variant: Variant
) -> State:
    """Compute a shard's missing samples."""
    return as_state(
        compute_missing(variant, shard, lambda video_ids: sample_videos(video_ids, inputs, config))
    )


@task(name="class plan", task_run_name="manifest class plan", cache_policy=NO_CACHE)
def class_plan(
    shard: Shard, samples: Sequence[SampleRecord], config: ManifestConfig, variant: Variant
) -> State:
    """Compute the class plan if it is missing."""

    def compute(_: Sequence[str]) -> Iterator[ItemOutput]:
        yield ItemOutput(item_id=PLAN_ITEM, rows=plan_classes(samples, config))

    return as_state(compute_missing(variant, shard, compute))
