"""Several models as one: the mean of their log-odds about each segment, a variant of its own."""

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
    """Name one model, or several as what they are together."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} together"


def check_apart(named: Sequence[tuple[str, str]]) -> None:
    """Refuse models, each a name and what its content is known by, of which two are the same.

    Raises:
        ModelError: names both: one model counted twice is no ensemble.
    """
    seen: dict[str, str] = {}
    for name, content in named:
        if content in seen:
            raise ModelError(
                f"The models {seen[content]!r} and {name!r} are the same, by content: name each "
                "model of an ensemble once with --model."
            )
        seen[content] = name


def variant_of(store: Store, variants: Sequence[Variant]) -> Variant:
    """Open the variant of what these models' variants say together, in whatever order."""
    upstream = sorted(variant.path for variant in variants)
    return open_variant(
        store, STAGE, version=VERSION, settings={"ensemble": "mean"}, upstream=upstream
    )


def mean_of(rows: Sequence[PredictionRecord]) -> PredictionRecord:
    """Put models' answers about one segment together: log-probabilities are averaged."""
    logp_yes = fmean(row.logp_yes for row in rows)
    logp_no = fmean(row.logp_no for row in rows)
    return replace(
        rows[0],
        logp_yes=logp_yes,
        logp_no=logp_no,
        p_ah=prompt.p_ah(logp_yes, logp_no),
        answer_mass=fmean(row.answer_mass for row in rows),
    )


def together(
    segment_ids: Sequence[str], shard: Shard, variants: Sequence[Variant]
) -> Iterator[ItemOutput]:
    """Give each segment's mean answer; one that any of the models rejects stays rejected.

    Raises:
        StageError: a model has not answered yet.
    """
    answered = [  # in an order of their own: counts of tokens are taken from the first
        {row.segment_id: row for row in variant.read(PredictionRecord, shard.expected)}
        for variant in sorted(variants, key=lambda variant: variant.path)
    ]
    rejected = {
        row.item_id: row
        for variant in sorted(variants, key=lambda variant: variant.path)
        for row in variant.read(RejectedRecord, shard.expected)
    }
    for item in segment_ids:
        rows = [by_id[item] for by_id in answered if item in by_id]  # type: ignore[index]
        if item in rejected:
            yield ItemOutput(item_id=item, rows=(rejected[item],))
        elif len(rows) == len(variants):
            yield ItemOutput(item_id=item, rows=(mean_of(rows),))
        else:
            raise StageError(
                f"{len(variants) - len(rows)} of {len(variants)} models have not answered about "
                "every segment yet: run the infer stage again."
            )


def outdated(shard: Shard, variants: Sequence[Variant], variant: Variant) -> dict[str, str]:
    """Find the stored means that are no longer those of the models' answers.

    A model that was asked anew by itself may answer what it had rejected.

    Raises:
        StageError: as `together`.
    """
    answers = variant.read(PredictionRecord, shard.expected)
    rejected = variant.read(RejectedRecord, shard.expected)
    stored: dict[str, object] = {
        **{row.segment_id: row for row in answers},
        **{row.item_id: row for row in rejected},
    }
    return {
        output.item_id: shard.expected[output.item_id]
        for output in together([*stored], shard, variants)
        if output.rows != (stored[output.item_id],)
    }


@task(name="ensemble", task_run_name="ensemble shard {shard.name}", cache_policy=NO_CACHE)
def ensemble_shard(shard: Shard, variants: Sequence[Variant], variant: Variant) -> State:
    """Put several models' answers together, anew where one of them answers otherwise by now."""
    variant.invalidate(outdated(shard, variants, variant))
    make = partial(together, shard=shard, variants=variants)
    return as_state(compute_missing(variant, shard, make))
