"""Results of a run, read from the store: what inference predicted, and what the report contains."""

from dataclasses import dataclass, field
from pathlib import Path

from flows.context.context import Context
from flows.context.models import Models, resolve_models
from flows.context.rows import (
    ManifestRows,
    Record,
    expected_videos,
    read_manifest,
    read_rows,
    require_finished,
)
from storage.media_records import MediaFacts
from storage.records import IssueRecord, RejectedRecord
from storage.results import PredictionRecord
from storage.store.snapshots import Snapshots
from storage.store.variant import Variant
from tasks import aggregate
from tasks.aggregate import ReportSources
from tasks.evaluation.earlier_selection import EarlierSelection, can_select, find_earlier_selection
from tasks.inference.samples import expected_items
from tasks.labels.label_summary import summarize_labels
from tasks.report.html import RunFacts, media_issues
from tasks.report.input_quality import input_quality
from tasks.report.notices import notices_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A finished inference: every segment's prediction, and what the stages up to it rejected.

    ``earlier`` are the pooling rule and thresholds that another run chose for the same model, if
    this one has no labeled validation videos to choose them on.
    """

    manifest: ManifestRows
    models: Models
    predictions: tuple[PredictionRecord, ...]
    rejected: tuple[RejectedRecord, ...]
    earlier: EarlierSelection | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why predictions or verdicts may be worse than those measured for this model."""
        caveat = self.earlier.caveat if self.earlier else None
        return (*self.models.input_mismatches, *([caveat] if caveat else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of a run: its variant, and its one item with the digest of everything in it."""

    inference: Inference
    sources: ReportSources
    variant: Variant
    expected: dict[str, str]
    snapshots: Snapshots = field(default_factory=Snapshots, compare=False, repr=False)

    def read(self, record_type: type[Record]) -> list[Record]:
        """Read the report's verdicts, metrics, thresholds or ensemble members.

        Raises:
            StageError: the report is not finished.
        """
        found = self.snapshots.look(self.variant, self.expected)
        return require_finished("aggregate", found).read(record_type)


def read_inference(context: Context) -> Inference:
    """Read all predictions of the run's models.

    Raises:
        StageError: inference, or a stage before it, is not finished.
    """
    manifest = read_manifest(context)
    models = resolve_models(context, manifest)
    expected = expected_items(manifest.samples)
    predictions = read_rows(context, "infer", models.variant, PredictionRecord, expected)
    finished = (
        context.look(context.segment, expected_videos(context)),
        context.look(context.transcribe, manifest.expected_transcripts),
        context.look(context.manifest, manifest.expected),
        context.look(models.variant, expected),
    )
    return Inference(
        manifest=manifest,
        models=models,
        predictions=tuple(predictions),
        rejected=tuple(row for found in finished for row in found.read(RejectedRecord)),
        earlier=None
        if can_select(manifest.samples, predictions)
        else _find_earlier(context, models.variant),
    )


def _find_earlier(context: Context, predictions: Variant) -> EarlierSelection | None:
    reads_transcript = context.settings.input.shows_transcript
    upstream = (context.segment, context.transcribe) if reads_transcript else (context.segment,)
    settings = context.settings.aggregate.model_dump(mode="json")
    return find_earlier_selection(predictions, settings, upstream)


def open_report(context: Context) -> Report:
    """Return the report that this run has, or is to have.

    Raises:
        StageError: inference is not finished.
    """
    inference = read_inference(context)
    predictions = inference.models.variant
    sources = _report_sources(context, inference)
    return Report(
        inference=inference,
        sources=sources,
        variant=aggregate.variant_of(
            context.store, context.settings.aggregate, manifest=context.manifest, infer=predictions
        ),
        expected=aggregate.expected_items(sources),
    )


def _report_sources(context: Context, inference: Inference) -> ReportSources:
    manifest, models = inference.manifest, inference.models
    media = context.look(context.segment, expected_videos(context)).read(MediaFacts)
    variants = (context.segment, context.transcribe, context.manifest, models.variant)
    issues = context.look(context.manifest, manifest.expected).read(IssueRecord)
    return ReportSources(
        manifest=context.manifest,
        expected_samples=manifest.expected,
        infer=models.variant,
        expected_predictions=expected_items(manifest.samples),
        videos=context.videos,
        rejected=list(inference.rejected),
        facts=RunFacts(
            data_name=Path(context.request.data).name,
            model_name=models.name,
            variants={variant.stage: variant.variant_id for variant in variants},
            issues=context.dataset.issues,
            stage_issues=[
                *media_issues(media),
                *issues,
            ],
            notices=(
                *notices_of(context.settings.segment.boundaries, manifest.samples),
                *summarize_labels(manifest.samples, issues).warnings(),
                *inference.warnings,
            ),
            quality=input_quality(media),
        ),
        earlier=inference.earlier,
        members=models.member_variants,
    )
