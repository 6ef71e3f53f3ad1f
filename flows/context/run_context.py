"""An open run: its settings, data set and store, the variants its settings make, and their rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flows.context.preparation import Preparation
from flows.context.request import StageName
from storage.errors import ConfigError
from storage.records import IssueRecord, MediaFacts, RejectedRecord
from storage.results import ModelRecord, PredictionRecord, ThresholdRecord, VerdictRecord
from storage.store.variant import Variant
from tasks import aggregate, ensemble, finetune, infer
from tasks.adapters.resolve import named_model, trained_model
from tasks.aggregate import ReportSources
from tasks.evaluation.earlier_selection import EarlierSelection, can_select, find_earlier_selection
from tasks.inference.samples import expected_items
from tasks.model.model_folder import check_model, fingerprint_of
from tasks.prompting.trained_with import input_mismatches
from tasks.report.html import RunFacts, media_issues
from tasks.report.notices import notices_of
from tasks.training.job import SampleSource


@dataclass(frozen=True)
class Run(Preparation):
    """What the stages of one request work on."""

    @property
    def trains(self) -> bool:
        """True if this run fine-tunes a model of its own."""
        return not self.request.models and self.dataset.has_labels

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

    @property
    def sample_source(self) -> SampleSource:
        """Where training samples are from, as it is noted with a model."""
        words = self.settings.manifest.max_words_before
        return SampleSource(path=self.manifest.path, max_words_before=words)

    @cached_property
    def expected_models(self) -> Mapping[str, str]:
        """One model a seed, with the digest of the rows it is trained and chosen on."""
        return finetune.expected_items(self.samples, self.class_plan, self.settings.finetune)

    @cached_property
    def models(self) -> Mapping[int, ModelRecord]:
        """The models that this run trained, by seed."""
        rows = self.rows("finetune", self.finetune, ModelRecord, self.expected_models)
        return dict(zip(self.settings.finetune.all_seeds, rows, strict=True))

    @cached_property
    def seed(self) -> int:
        """The seed whose model is inferred with: the best on validation."""
        return finetune.best_seed(self.models, self.settings.finetune)

    @property
    def is_ensemble(self) -> bool:
        """True if several models answer together: those named, or those of all seeds."""
        if not self.trains:
            return len(self.request.models) > 1
        several = len(self.settings.finetune.all_seeds) > 1
        return several and self.settings.infer.seeds == "ensemble"

    def require_model(self) -> None:
        """Refuse to infer without a model; raises ConfigError."""
        if not (self.dataset.has_labels or self.request.models):
            raise ConfigError(
                f"The data set {self.request.data!r} has no labels, so no model can be trained on "
                "it: name a trained one with --model FOLDER."
            )

    @property
    def model_name(self) -> str:
        """What the report calls the model: as it was named, or its base and how it was chosen."""
        if self.request.models:
            return ensemble.name_of(self.request.models)
        config = self.settings.finetune
        name, count = f"{Path(config.model).name}, fine-tuned", len(config.all_seeds)
        if count == 1:
            return name
        if self.is_ensemble:
            return f"{name}, {count} seeds together"
        how = "the best on validation" if config.validation else "the first"
        return f"{name}, seed {self.seed}: {how} of {count}"

    @cached_property
    def model_paths(self) -> Mapping[str, Path]:
        """The folder of every model that answers, by name: one, or all of an ensemble.

        Raises:
            ConfigError: there are neither labels to train on nor a model.
            ModelError: a model cannot be used, or two of them are the same.
        """
        self.require_model()
        if self.trains:
            seeds = self.settings.finetune.all_seeds if self.is_ensemble else (self.seed,)
            return {finetune.item_of(seed): self.model_path_of(seed) for seed in seeds}
        base, config = self.settings.finetune.model, self.settings.infer
        named = [
            (name, named_model(self.store, name, base, dtype=config.dtype, way=config.adapter))
            for name in self.request.models
        ]
        ensemble.check_apart([(name, fingerprint_of(path)) for name, path in named])
        return dict(named)

    @cached_property
    def model_path(self) -> Path:
        """The folder of the model to infer with: the one that was named, or the best trained."""
        return (
            self.model_path_of(self.seed) if self.trains else next(iter(self.model_paths.values()))
        )

    def model_path_of(self, seed: int) -> Path:
        """Give the folder of the model that this run trained with a seed."""
        settings = self.settings.finetune
        return trained_model(
            self.store,
            self.models[seed],
            base=settings.model,
            precision=settings.precision,
            max_shard_bytes=settings.max_shard_bytes,
            dtype=self.settings.infer.dtype,
            way=self.settings.infer.adapter,
        )

    @cached_property
    def infer(self) -> Variant:
        """The variant of predictions: one model's, or those of several models together."""
        variants = list(self.members.values())
        return ensemble.variant_of(self.store, variants) if self.is_ensemble else variants[0]

    @cached_property
    def members(self) -> Mapping[str, Variant]:
        """Every model's own variant of predictions, by the model's name."""
        return {name: self.infer_by(path) for name, path in self.model_paths.items()}

    def infer_by(self, model_path: Path) -> Variant:
        """Open the variant of one model's predictions."""
        return infer.variant_of(
            self.store, self.settings.infer, self.settings.input, fingerprint_of(model_path)
        )

    @cached_property
    def input_mismatches(self) -> tuple[str, ...]:
        """What to say of models that were trained with other settings than they are asked with."""
        paths = () if self.trains else self.model_paths.values()
        words = self.settings.manifest.max_words_before
        message = (input_mismatches(path, self.settings.input, words) for path in paths)
        return tuple(dict.fromkeys(sentence for sentence in message if sentence))

    @cached_property
    def expected_segments(self) -> Mapping[str, str]:
        """Every sample with the digest of what the model sees: what `infer` wants."""
        return expected_items(self.samples)

    @cached_property
    def aggregate(self) -> Variant:
        """The variant of reports."""
        return aggregate.variant_of(
            self.store, self.settings.aggregate, manifest=self.manifest, infer=self.infer
        )

    @cached_property
    def earlier(self) -> EarlierSelection | None:
        """The rule and thresholds that another run chose for this model, if this one cannot choose.

        Raises:
            StageError: inference has not finished.
        """
        if can_select(self.samples, self.predictions):
            return None
        settings, reads_words = self.settings.aggregate, self.settings.input.shows_transcript
        upstream_variants = (self.segment, self.transcribe) if reads_words else (self.segment,)
        return find_earlier_selection(
            self.infer, settings.model_dump(mode="json"), upstream_variants
        )

    @property
    def cautions(self) -> tuple[str, ...]:
        """Why answers or verdicts may be worse than those that the model was measured by."""
        caveat = self.earlier.caveat if self.earlier else None
        return (*self.input_mismatches, *([caveat] if caveat else []))

    @cached_property
    def report_sources(self) -> ReportSources:
        """All that the report is made from.

        Raises:
            StageError: inference has not finished.
        """
        variants = (self.segment, self.transcribe, self.manifest, self.infer)
        return ReportSources(
            manifest=self.manifest,
            expected_samples=self.expected_inputs,
            infer=self.infer,
            expected_predictions=self.expected_segments,
            videos=self.videos,
            rejected=self.rejected(),
            facts=RunFacts(
                data_name=Path(self.request.data).name,
                model_name=self.model_name,
                variants={variant.stage: variant.variant_id for variant in variants},
                issues=self.dataset.issues,
                stage_issues=[
                    *media_issues(self.segment.read(MediaFacts, self.expected_videos)),
                    *self.manifest.read(IssueRecord, self.expected_inputs),
                ],
                notices=(
                    *notices_of(self.settings.segment.boundaries, self.samples),
                    *self.cautions,
                ),
            ),
            earlier=self.earlier,
            members=self.members if self.is_ensemble else {},
        )

    @cached_property
    def expected_report(self) -> Mapping[str, str]:
        """The one report, with the digest of everything that stands in it."""
        return aggregate.expected_items(self.report_sources)

    @cached_property
    def predictions(self) -> tuple[PredictionRecord, ...]:
        """Every segment's answer; of a rejected segment there is none."""
        return tuple(self.rows("infer", self.infer, PredictionRecord, self.expected_segments))

    @cached_property
    def verdicts(self) -> tuple[VerdictRecord, ...]:
        """The report's verdicts, of every video under every pooling rule."""
        return tuple(self.rows("aggregate", self.aggregate, VerdictRecord, self.expected_report))

    @cached_property
    def thresholds(self) -> tuple[ThresholdRecord, ...]:
        """The report's thresholds, of every method."""
        return tuple(self.rows("aggregate", self.aggregate, ThresholdRecord, self.expected_report))

    def rejected(self) -> list[RejectedRecord]:
        """What the stages before `aggregate` could not use."""
        return [
            *self.segment.read(RejectedRecord, self.expected_videos),
            *self.transcribe.read(RejectedRecord, self.expected_transcripts),
            *self.manifest.read(RejectedRecord, self.expected_inputs),
            *self.infer.read(RejectedRecord, self.expected_segments),
        ]
