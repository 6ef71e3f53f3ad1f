"""A run opened: its settings, data set and store, the variants its settings make, and their rows.

Opening a run makes nothing and changes nothing. Each stage's flow opens its own, so that it sees
what the stages before it have written.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from flows.config import Settings, load_settings
from flows.request import RunRequest, StageName
from storage.dataset import Dataset, open_dataset
from storage.errors import StageError
from storage.records import RejectedRecord, SampleRecord, SegmentRecord, TranscriptRecord
from storage.store import Store
from storage.variant import Variant
from tasks import manifest, segment, transcribe
from tasks.manifest import VideoInputs

Record = TypeVar("Record")


@dataclass(frozen=True)
class Run:
    """What the stages of one request work on."""

    request: RunRequest
    settings: Settings
    dataset: Dataset
    store: Store

    @cached_property
    def paths(self) -> Mapping[str, Path]:
        """Every video's file."""
        return dict(self.dataset.paths())

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
    def videos_wanted(self) -> Mapping[str, str]:
        """Every video with its content's digest: what `segment` wants."""
        return dict(self.dataset.source_digests())

    @cached_property
    def segments(self) -> Mapping[str, tuple[SegmentRecord, ...]]:
        """Every usable video's segments, in order."""
        rows = self._rows("segment", self.segment, SegmentRecord, self.videos_wanted)
        grouped: dict[str, list[SegmentRecord]] = defaultdict(list)
        for row in rows:
            grouped[row.video_id].append(row)
        return {
            video_id: tuple(sorted(grouped[video_id], key=lambda s: s.index))
            for video_id in self.videos_wanted
            if video_id in grouped
        }

    @cached_property
    def segmented_wanted(self) -> Mapping[str, str]:
        """The videos that have segments: what `transcribe` wants."""
        return {video_id: self.videos_wanted[video_id] for video_id in self.segments}

    @cached_property
    def video_inputs(self) -> Mapping[str, VideoInputs]:
        """Segments, transcript and annotation of every video that has them all."""
        rows = self._rows("transcribe", self.transcribe, TranscriptRecord, self.segmented_wanted)
        transcripts = {row.video_id: row for row in rows}
        return {
            video.video_id: VideoInputs(
                video=video,
                source_digest=self.videos_wanted[video.video_id],
                segments=self.segments[video.video_id],
                transcript=transcripts[video.video_id],
            )
            for video in self.dataset.videos
            if video.video_id in transcripts
        }

    @cached_property
    def inputs_wanted(self) -> Mapping[str, str]:
        """The videos with segments and words: what `manifest` wants."""
        return {video_id: inputs.digest for video_id, inputs in self.video_inputs.items()}

    @cached_property
    def samples(self) -> tuple[SampleRecord, ...]:
        """The whole manifest, by video and time."""
        rows = self._rows("manifest", self.manifest, SampleRecord, self.inputs_wanted)
        return tuple(sorted(rows, key=lambda sample: (sample.video_id, sample.index)))

    def rejected(self) -> list[RejectedRecord]:
        """What segment, transcribe and manifest could not use."""
        return [
            *self.segment.read(RejectedRecord, self.videos_wanted),
            *self.transcribe.read(RejectedRecord, self.segmented_wanted),
            *self.manifest.read(RejectedRecord, self.inputs_wanted),
        ]

    def _rows(
        self, stage: StageName, variant: Variant, record_type: type[Record], wanted: Mapping[str, str]
    ) -> list[Record]:
        """Read a finished stage's rows.

        Raises:
            StageError: the stage has not finished with today's data and settings.
        """
        missing = len(variant.pending(wanted))
        if missing:
            raise StageError(
                f"Stage {stage!r} is not finished: {missing} of {len(wanted)} results are missing "
                f"or were made from other data or settings; run it first, with --from {stage}."
            )
        return variant.read(record_type, wanted)


def open_run(request: RunRequest) -> Run:
    """Open a request: read the profile, the data set's annotation, and the store.

    Raises:
        ConfigError: a setting or profile cannot be used.
        DataError: the data folder is missing or cannot be read.
        StoreError: the store cannot be written.
    """
    settings = load_settings(request.profile, request.overrides)
    dataset = open_dataset(request.data)
    return Run(request=request, settings=settings, dataset=dataset, store=Store(request.store))
