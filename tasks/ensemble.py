"""An ensemble of models: the mean of their log-odds for each segment, as a variant of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean

from prefect import State, task
from prefect.cache_policies import NO_CACHE

from storage.errors import ModelError, StageError
from storage.records import RejectedRecord
from storage.results import PredictionRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.prompting import prompt
from tasks.stage import Shard, as_state, compute_missing

STAGE = "infer"
VERSION = 1


def name_of(names: Sequence[str]) -> str:
    """Return the display name of one model, or of an ensemble."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} together"


def check_distinct(named: Sequence[tuple[str, str]]) -> None:
    """Check that no two models, given as names and content digests, are the same.

    Raises:
        ModelError: two are; the message names both.
    """
    seen: dict[str, str] = {}
    for name, content in named:
        if content in seen:
            raise ModelError(
                f"The models {seen[content]!r} and {name!r} have the same content: name each "
                "model of an ensemble once with --model."
            )
        seen[content] = name


def variant_of(store: Store, variants: Sequence[Variant]) -> Variant:
    """Open the ensemble's variant; the order of the models' variants does not matter."""
    upstream = sorted(variant.path for variant in variants)
    return open_variant(
        store, STAGE, version=VERSION, settings={"ensemble": "mean"}, upstream=upstream
    )


def mean_of(rows: Sequence[PredictionRecord]) -> PredictionRecord:
    """Average the log-probabilities of several predictions for one segment."""
    logp_yes = fmean(row.logp_yes for row in rows)
    logp_no = fmean(row.logp_no for row in rows)
    return replace(
        rows[0],
        logp_yes=logp_yes,
        logp_no=logp_no,
        p_ah=prompt.p_ah(logp_yes, logp_no),
        answer_mass=fmean(row.answer_mass for row in rows),
    )


def combine(
    segment_ids: Sequence[str], shard: Shard, variants: Sequence[Variant]
) -> Iterator[ItemOutput]:
    """Yield each segment's mean prediction; a segment rejected by any model is rejected.

    Raises:
        StageError: a model's prediction is missing.
    """
    predicted = [  # sorted, since token counts are taken from the first model
        {row.segment_id: row for row in variant.read(PredictionRecord, shard.expected)}
        for variant in sorted(variants, key=lambda variant: variant.path)
    ]
    rejected = {
        row.item_id: row
        for variant in sorted(variants, key=lambda variant: variant.path)
        for row in variant.read(RejectedRecord, shard.expected)
    }
    for item in segment_ids:
        rows = [by_id[item] for by_id in predicted if item in by_id]  # type: ignore[index]
        if item in rejected:
            yield ItemOutput(item_id=item, rows=(rejected[item],))
        elif len(rows) == len(variants):
            yield ItemOutput(item_id=item, rows=(mean_of(rows),))
        else:
            raise StageError(
                f"{len(variants) - len(rows)} of {len(variants)} models have not predicted every "
                "segment yet: run the infer stage again."
            )


def find_outdated(shard: Shard, variants: Sequence[Variant], variant: Variant) -> dict[str, str]:
    """Find the stored means that differ from those of the models' current predictions.

    A model run again by itself may predict a segment that it had rejected.

    Raises:
        StageError: as `combine`.
    """
    predictions = variant.read(PredictionRecord, shard.expected)
    rejected = variant.read(RejectedRecord, shard.expected)
    stored: dict[str, object] = {
        **{row.segment_id: row for row in predictions},
        **{row.item_id: row for row in rejected},
    }
    return {
        output.item_id: shard.expected[output.item_id]
        for output in combine([*stored], shard, variants)
        if output.rows != (stored[output.item_id],)
    }


@task(name="ensemble", task_run_name="ensemble shard {shard.title}", cache_policy=NO_CACHE)
def ensemble_shard(shard: Shard, variants: Sequence[Variant], variant: Variant) -> State:
    """Compute missing ensemble predictions, and recompute outdated ones, as a Prefect task."""
    variant.invalidate(find_outdated(shard, variants, variant))
    compute = partial(combine, shard=shard, variants=variants)
    return as_state(compute_missing(variant, shard, compute))
