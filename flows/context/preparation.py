"""What a run makes ready before any model: its data set, variants and rows up to the manifest."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from flows.context.request import RunRequest, StageName
from flows.context.settings import Settings
from storage.datasets.dataset import Dataset
from storage.errors import StageError
from storage.records import (
    ClassPlanRecord,
    FrameTimesRecord,
    MediaHashRecord,
    SampleRecord,
    SegmentRecord,
    TranscriptRecord,
    VideoRecord,
)
from storage.store.store import Store
from storage.store.variant import Variant
from tasks import manifest, segment, transcribe
from tasks.labels.cut_points import cut_points_of
from tasks.labels.split_assignment import assign_splits
from tasks.manifest import VideoInputs
from tasks.segment import SourceVideo

Record = TypeVar("Record")


@dataclass(frozen=True)
class Preparation:
    """The first three stages of one request: what they want, and what they left."""

    request: RunRequest
    settings: Settings
    dataset: Dataset
    store: Store

    @cached_property
    def videos(self) -> tuple[VideoRecord, ...]:
        """Every video, on the side of train, val and test that the settings give it."""
        sides = assign_splits(self.dataset.videos, self.settings.manifest)
        return tuple(replace(v, split=sides[v.video_id]) for v in self.dataset.videos)

    @cached_property
    def sources(self) -> Mapping[str, SourceVideo]:
        """Every video's file with its content's digest, and where it must be cut."""
        paths, digests = self.dataset.paths(), self.dataset.source_digests()
        return {
            video.video_id: SourceVideo(
                path=paths[video.video_id],
                source_digest=digests[video.video_id],
                cut_points_ms=cut_points_of(video)
                if self.settings.segment.boundaries == "annotated"
                else (),
            )
            for video in self.videos
        }

    @cached_property
    def segment(self) -> Variant:
        """The variant of segments."""
        return segment.variant_of(self.store, self.settings.segment)

    @cached_property
    def transcribe(self) -> Variant:
        """The variant of transcripts."""
        return transcribe.variant_of(self.store, self.settings.transcribe, segment=self.segment)

    @cached_property
    def manifest(self) -> Variant:
        """The variant of samples."""
        return manifest.variant_of(
            self.store, self.settings.manifest, segment=self.segment, transcribe=self.transcribe
        )

    @cached_property
    def expected_videos(self) -> Mapping[str, str]:
        """Every video with the digest of its content and marks: what `segment` wants."""
        return {video_id: source.digest for video_id, source in self.sources.items()}

    @cached_property
    def segments(self) -> Mapping[str, tuple[SegmentRecord, ...]]:
        """Every usable video's segments, in order."""
        rows = self.rows("segment", self.segment, SegmentRecord, self.expected_videos)
        grouped: dict[str, list[SegmentRecord]] = defaultdict(list)
        for row in rows:
            grouped[row.video_id].append(row)
        return {
            video_id: tuple(sorted(grouped[video_id], key=lambda s: s.index))
            for video_id in self.expected_videos
            if video_id in grouped
        }

    @cached_property
    def hashes(self) -> tuple[MediaHashRecord, ...]:
        """What every usable video looks and sounds like."""
        return tuple(self.rows("segment", self.segment, MediaHashRecord, self.expected_videos))

    @cached_property
    def frame_times(self) -> tuple[FrameTimesRecord, ...]:
        """When every frame of every usable video is shown."""
        return tuple(self.rows("segment", self.segment, FrameTimesRecord, self.expected_videos))

    @cached_property
    def expected_transcripts(self) -> Mapping[str, str]:
        """The videos that have segments: what `transcribe` wants."""
        return {video_id: self.expected_videos[video_id] for video_id in self.segments}

    @cached_property
    def video_inputs(self) -> Mapping[str, VideoInputs]:
        """Segments, transcript and annotation of every video that has them all."""
        rows = self.rows("transcribe", self.transcribe, TranscriptRecord, self.expected_transcripts)
        transcripts = {row.video_id: row for row in rows}
        return {
            video.video_id: VideoInputs(
                video=video,
                source_digest=self.sources[video.video_id].source_digest,
                segments=self.segments[video.video_id],
                transcript=transcripts[video.video_id],
                cut_at_bounds=bool(self.sources[video.video_id].cut_points_ms),
            )
            for video in self.videos
            if video.video_id in transcripts
        }

    @cached_property
    def expected_inputs(self) -> Mapping[str, str]:
        """The videos with segments and words: what `manifest` wants."""
        return {video_id: inputs.digest for video_id, inputs in self.video_inputs.items()}

    @cached_property
    def samples(self) -> tuple[SampleRecord, ...]:
        """The whole manifest, by video and time."""
        rows = self.rows("manifest", self.manifest, SampleRecord, self.expected_inputs)
        return tuple(sorted(rows, key=lambda sample: (sample.video_id, sample.index)))

    @cached_property
    def expected_class_plan(self) -> Mapping[str, str]:
        """The plan of what each class counts, with the digest of the samples in training."""
        return manifest.expected_plan(self.samples, self.settings.manifest)

    @cached_property
    def class_plan(self) -> tuple[ClassPlanRecord, ...]:
        """What each class counts in training."""
        expected = self.expected_class_plan
        return tuple(self.rows("manifest", self.manifest, ClassPlanRecord, expected))

    def rows(
        self,
        stage: StageName,
        variant: Variant,
        record_type: type[Record],
        expected: Mapping[str, str],
    ) -> list[Record]:
        """Read a finished stage's rows.

        Raises:
            StageError: the stage has not finished with today's data and settings.
        """
        missing = len(variant.pending(expected))
        if missing:
            raise StageError(
                f"Stage {stage!r} is not finished: {missing} of {len(expected)} results are missing "
                f"or were made from other data or settings; run it first, with "
                f"`waver run --from {stage}`."
            )
        return variant.read(record_type, expected)
