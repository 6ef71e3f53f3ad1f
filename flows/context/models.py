"""The models that a run trains and infers with.

`resolve_models` is the one step that makes a model ready: it may download weights, fetch them from
a remote store, or merge an adapter with its base.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.context.context import Context
from flows.context.rows import ManifestRows, read_class_plan, read_rows
from storage.errors import ConfigError
from storage.results import ModelRecord
from storage.store.variant import Variant
from tasks import ensemble, finetune, infer
from tasks.adapters.resolve import named_model, trained_model
from tasks.model.model_folder import check_model, fingerprint_of
from tasks.prompting.trained_with import input_mismatches


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model to infer with; ``path`` is the folder that the engine opens.

    ``variant`` is that of this model's own predictions.
    """

    name: str
    path: Path
    fingerprint: str
    variant: Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The models of a run, ready to infer with: a single member, or those of an ensemble.

    ``name`` is how the report calls them. ``variant`` is that of the predictions to evaluate: the
    single model's, or the ensemble's means. ``input_mismatches`` are warnings about models that
    were trained with other input settings.
    """

    name: str
    members: tuple[Model, ...]
    variant: Variant
    input_mismatches: tuple[str, ...] = ()

    @property
    def is_ensemble(self) -> bool:
        """True if several models predict together."""
        return len(self.members) > 1

    @property
    def member_variants(self) -> dict[str, Variant]:
        """The variants of an ensemble's members by name; empty for a single model."""
        return {model.name: model.variant for model in self.members} if self.is_ensemble else {}


def finetune_variant(context: Context) -> Variant:
    """Return the variant of trained models; downloads a base model that is not here yet."""
    settings = context.settings
    base = fingerprint_of(check_model(settings.finetune.model))
    return finetune.variant_of(
        context.store, settings.finetune, settings.input, base_fingerprint=base
    )


def read_trained_models(context: Context, manifest: ManifestRows) -> dict[int, ModelRecord]:
    """Read the records of the models that this run trained, by seed.

    Raises:
        StageError: training is not finished.
    """
    config = context.settings.finetune
    expected = finetune.expected_items(manifest.samples, read_class_plan(context, manifest), config)
    rows = read_rows(context, "finetune", finetune_variant(context), ModelRecord, expected)
    return dict(zip(config.all_seeds, rows, strict=True))


def require_model(context: Context) -> None:
    """Raise if there is no model to infer with.

    Raises:
        ConfigError: none is named, and the data set has no labels to train one on.
    """
    if not (context.dataset.has_labels or context.request.models):
        raise ConfigError(
            f"The data set {context.request.data!r} has no labels, so no model can be trained on "
            "it: name a trained one with --model FOLDER."
        )


def resolve_models(context: Context, manifest: ManifestRows, *, best_only: bool = False) -> Models:
    """Make the models ready that this run infers with: the named ones, or those it trained.

    With ``best_only``, only the best of several trained models, even with
    `infer.seeds = ensemble`.

    Raises:
        ConfigError: there are neither labels to train on nor a named model.
        ModelError: a model cannot be used, or two of them have the same content.
        StageError: training is not finished.
    """
    require_model(context)
    if context.trains:
        return trained_models(context, read_trained_models(context, manifest), best_only=best_only)
    return named_models(context)


def trained_models(
    context: Context, trained: Mapping[int, ModelRecord], *, best_only: bool = False
) -> Models:
    """Make trained models ready, given by seed: the best on validation, or all as an ensemble."""
    config, infer_config = context.settings.finetune, context.settings.infer
    best = finetune.best_seed(trained, config)
    together = infer_config.seeds == "ensemble" and not best_only
    seeds = config.all_seeds if together else (best,)
    named = [
        (
            finetune.item_of(seed),
            trained_model(
                context.store,
                trained[seed],
                base=config.model,
                precision=config.precision,
                max_shard_bytes=config.max_shard_bytes,
                dtype=infer_config.dtype,
                mode=infer_config.adapter,
            ),
        )
        for seed in seeds
    ]
    return _models(context, _name_trained(context, seeds), named)


def _name_trained(context: Context, seeds: tuple[int, ...]) -> str:
    config = context.settings.finetune
    name, count = f"{Path(config.model).name}, fine-tuned", len(config.all_seeds)
    if count == 1:
        return name
    if len(seeds) > 1:
        return f"{name}, ensemble of {count} seeds"
    how = "the best on validation" if config.validation else "the first"
    return f"{name}, seed {seeds[0]}: {how} of {count}"


def named_models(context: Context) -> Models:
    """Make the models ready that the request names."""
    settings, names = context.settings, context.request.models
    base, config = settings.finetune.model, settings.infer
    named = [
        (name, named_model(context.store, name, base, dtype=config.dtype, mode=config.adapter))
        for name in names
    ]
    words = settings.manifest.max_words_before
    mismatches = (input_mismatches(path, settings.input, words) for _, path in named)
    models = _models(
        context, ensemble.name_of(names), named, tuple(dict.fromkeys(filter(None, mismatches)))
    )
    ensemble.check_distinct([(model.name, model.fingerprint) for model in models.members])
    return models


def _models(
    context: Context,
    name: str,
    named: Sequence[tuple[str, Path]],
    mismatches: tuple[str, ...] = (),
) -> Models:
    members = tuple(_model(context, own_name, path) for own_name, path in named)
    variants = [model.variant for model in members]
    return Models(
        name=name,
        members=members,
        variant=variants[0] if len(members) == 1 else ensemble.variant_of(context.store, variants),
        input_mismatches=mismatches,
    )


def _model(context: Context, name: str, path: Path) -> Model:
    fingerprint, settings = fingerprint_of(path), context.settings
    return Model(
        name=name,
        path=path,
        fingerprint=fingerprint,
        variant=infer.variant_of(context.store, settings.infer, settings.input, fingerprint),
    )
