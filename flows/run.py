"""An open run: its settings, data set and store, the variants its settings make, and their rows."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from flows.config import Settings
from flows.request import RunRequest, StageName
from storage.dataset import Dataset
from storage.errors import StageError
from storage.records import (
    ClassPlanRecord,
    FrameTimesRecord,
    IssueRecord,
    MediaFacts,
    MediaPrintRecord,
    RejectedRecord,
    SampleRecord,
    SegmentRecord,
    TranscriptRecord,
    VideoRecord,
)
from storage.results import ModelRecord, PredictionRecord, ThresholdRecord, VerdictRecord
from storage.store import Store
from storage.variant import Variant
from tasks import aggregate, finetune, infer, manifest, segment, transcribe
from tasks.aggregate import ReportSources
from tasks.labels.assignment import assign_sides
from tasks.labels.marks import marks_of
from tasks.manifest import VideoInputs
from tasks.omni.checkpoint import check_model, fingerprint_of
from tasks.segment import SourceVideo
from tasks.verdicts.report import RunFacts, noticed_in

Record = TypeVar("Record")


@dataclass(frozen=True)
class Run:
    """What the stages of one request work on."""

    request: RunRequest
    settings: Settings
    dataset: Dataset
    store: Store

    @cached_property
    def videos(self) -> tuple[VideoRecord, ...]:
        """Every video, on the side of train, val and test that the settings give it."""
        sides = assign_sides(self.dataset.videos, self.settings.manifest)
        return tuple(replace(v, split=sides[v.video_id]) for v in self.dataset.videos)

    @cached_property
    def sources(self) -> Mapping[str, SourceVideo]:
        """Every video's file with its content's digest, and where it must be cut."""
        paths, digests = self.dataset.paths(), self.dataset.source_digests()
        return {
            video.video_id: SourceVideo(
                path=paths[video.video_id],
                source_digest=digests[video.video_id],
                marks_ms=marks_of(video) if self.settings.segment.cuts == "annotated" else (),
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
    def videos_wanted(self) -> Mapping[str, str]:
        """Every video with the digest of its content and marks: what `segment` wants."""
        return {video_id: source.digest for video_id, source in self.sources.items()}

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
    def prints(self) -> tuple[MediaPrintRecord, ...]:
        """What every usable video looks and sounds like."""
        return tuple(self._rows("segment", self.segment, MediaPrintRecord, self.videos_wanted))

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
                source_digest=self.sources[video.video_id].source_digest,
                segments=self.segments[video.video_id],
                transcript=transcripts[video.video_id],
                cut_at_bounds=bool(self.sources[video.video_id].marks_ms),
            )
            for video in self.videos
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

    @cached_property
    def class_plan_wanted(self) -> Mapping[str, str]:
        """The plan of what each class counts, with the digest of the samples in training."""
        return manifest.plan_wanted_of(self.samples, self.settings.manifest)

    @cached_property
    def class_plan(self) -> tuple[ClassPlanRecord, ...]:
        """What each class counts in training."""
        wanted = self.class_plan_wanted
        return tuple(self._rows("manifest", self.manifest, ClassPlanRecord, wanted))

    @property
    def trains(self) -> bool:
        """True if this run fine-tunes a model of its own."""
        return self.request.model is None and self.dataset.has_labels

    @cached_property
    def stages(self) -> tuple[StageName, ...]:
        """The stages to run, in order; nothing is trained where a model is given."""
        return tuple(s for s in self.request.stages() if s != "finetune" or self.trains)

    @cached_property
    def finetune(self) -> Variant:
        """The variant of trained models."""
        base = check_model(self.settings.finetune.model)
        return finetune.variant_of(
            self.store,
            self.settings.finetune,
            self.settings.input,
            base_fingerprint=fingerprint_of(base),
        )

    @cached_property
    def model_wanted(self) -> Mapping[str, str]:
        """The one model, with the digest of the rows it is trained and chosen on."""
        return finetune.wanted_of(self.samples, self.class_plan, self.settings.finetune)

    @cached_property
    def model_path(self) -> Path:
        """The folder of the model to infer with: the given one, or the one this run trained."""
        if not self.trains:
            return check_model(self.request.model or "")
        (model,) = self._rows("finetune", self.finetune, ModelRecord, self.model_wanted)
        return self.store.local_folder(model.model_path)

    @cached_property
    def infer(self) -> Variant:
        """The variant of predictions."""
        return infer.variant_of(
            self.store, self.settings.infer, self.settings.input, fingerprint_of(self.model_path)
        )

    @cached_property
    def segments_wanted(self) -> Mapping[str, str]:
        """Every sample with the digest of what the model sees: what `infer` wants."""
        return infer.wanted_of(self.samples)

    @property
    def model_name(self) -> str:
        """What the model is called in the report."""
        base = Path(self.settings.finetune.model).name
        return self.request.model or f"{base}, fine-tuned ({self.settings.finetune.method})"

    @cached_property
    def aggregate(self) -> Variant:
        """The variant of reports."""
        return aggregate.variant_of(
            self.store, self.settings.aggregate, manifest=self.manifest, infer=self.infer
        )

    @cached_property
    def report_sources(self) -> ReportSources:
        """All that the report is made from.

        Raises:
            StageError: inference has not finished.
        """
        self._rows("infer", self.infer, PredictionRecord, self.segments_wanted)
        variants = (self.segment, self.transcribe, self.manifest, self.infer)
        return ReportSources(
            manifest=self.manifest,
            samples_wanted=self.inputs_wanted,
            infer=self.infer,
            predictions_wanted=self.segments_wanted,
            videos=self.videos,
            rejected=self.rejected(),
            facts=RunFacts(
                data_name=Path(self.request.data).name,
                model_name=self.request.model
                or Path(self.settings.finetune.model).name + ", fine-tuned",
                variants={variant.stage: variant.variant_id for variant in variants},
                issues=self.dataset.issues,
                noticed=[
                    *noticed_in(self.segment.read(MediaFacts, self.videos_wanted)),
                    *self.manifest.read(IssueRecord, self.inputs_wanted),
                ],
            ),
        )

    @cached_property
    def report_wanted(self) -> Mapping[str, str]:
        """The one report, with the digest of everything that stands in it."""
        return aggregate.wanted_of(self.report_sources)

    @cached_property
    def frame_times(self) -> tuple[FrameTimesRecord, ...]:
        """When every frame of every usable video is shown."""
        return tuple(self._rows("segment", self.segment, FrameTimesRecord, self.videos_wanted))

    @cached_property
    def predictions(self) -> tuple[PredictionRecord, ...]:
        """Every segment's answer; of a rejected segment there is none."""
        return tuple(self._rows("infer", self.infer, PredictionRecord, self.segments_wanted))

    @cached_property
    def verdicts(self) -> tuple[VerdictRecord, ...]:
        """The report's verdicts, of every video under every pooling rule."""
        return tuple(self._rows("aggregate", self.aggregate, VerdictRecord, self.report_wanted))

    @cached_property
    def thresholds(self) -> tuple[ThresholdRecord, ...]:
        """The report's thresholds, of every method."""
        return tuple(self._rows("aggregate", self.aggregate, ThresholdRecord, self.report_wanted))

    def rejected(self) -> list[RejectedRecord]:
        """What the stages before `aggregate` could not use."""
        return [
            *self.segment.read(RejectedRecord, self.videos_wanted),
            *self.transcribe.read(RejectedRecord, self.segmented_wanted),
            *self.manifest.read(RejectedRecord, self.inputs_wanted),
            *self.infer.read(RejectedRecord, self.segments_wanted),
        ]

    def _rows(
        self,
        stage: StageName,
        variant: Variant,
        record_type: type[Record],
        wanted: Mapping[str, str],
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
