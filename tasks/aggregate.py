"""Stage 6, aggregate: segment predictions pooled to verdicts on videos, with metrics and a report.

In: samples and predictions. Out, as the single item `report`: a `VerdictRecord` per video and
pooling rule, `ThresholdRecord`s, `MetricRecord`s, for an ensemble `MemberRecord`s, and the files
report.html and verdicts.csv.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field, field_validator

from storage.fingerprint import digest_of
from storage.records import (
    TRANSCRIPT_COLUMNS,
    RejectedRecord,
    SampleRecord,
    VideoRecord,
)
from storage.results import PredictionRecord
from storage.schema import to_table, write_parquet
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.evaluation.bootstrap import BootstrapSettings
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.evaluation.evaluation import Evaluation, EvaluationPlan, evaluate
from tasks.evaluation.members import ENSEMBLE, measure_members
from tasks.evaluation.metrics import ScoreName
from tasks.evaluation.pooling import PoolingRule
from tasks.evaluation.thresholds import ThresholdPolicy, ThresholdRule
from tasks.report.html import RunFacts, write_report, write_verdicts
from tasks.stage import Shard, as_state, compute_missing

STAGE = "aggregate"
VERSION = 7
REPORT_ITEM = "report"
REPORT_NAME = "report.html"
VERDICTS_NAME = "verdicts.csv"


class AggregateConfig(BaseModel):
    """Settings that determine verdicts and metrics."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    pooling_rules: tuple[PoolingRule, ...] = Field(
        default=("top_k_mean", "mean", "noisy_or", "any"), min_length=1
    )
    """Pooling rules to compare; ties on validation go to the first one listed."""
    top_k: int = Field(default=2, ge=1, le=1000)
    """Number of a video's most probable segments that `top_k_mean` averages."""
    choose_by: ScoreName = "macro_f1"
    """Validation metric by which the pooling rule and its threshold are chosen."""
    threshold_rule: ThresholdRule = "plateau"
    """`plateau`: middle of the widest near-best range; `best`: highest score; `base_rate`: as many
    positive verdicts as labels; `fixed`: 0.5."""
    plateau_tolerance: float = Field(default=0.08, ge=0, lt=1)
    """How far below the best score a threshold still counts as near-best."""
    interval_level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the bootstrap intervals."""
    bootstrap_draws: int = Field(default=1000, ge=20, le=1_000_000)
    """Number of resamples of participants per interval."""
    seed: int = Field(default=0, ge=0)
    """Seed of the resampling."""

    @field_validator("pooling_rules")
    @classmethod
    def _each_once(cls, rules: tuple[PoolingRule, ...]) -> tuple[PoolingRule, ...]:
        if len(set(rules)) < len(rules):
            raise ValueError("each pooling rule may be listed once")
        return rules

    def plan(self) -> EvaluationPlan:
        """Return these settings as an evaluation plan."""
        return EvaluationPlan(
            pooling_rules=self.pooling_rules,
            top_k=self.top_k,
            policy=ThresholdPolicy(
                rule=self.threshold_rule,
                score_name=self.choose_by,
                tolerance=self.plateau_tolerance,
            ),
            bootstrap=BootstrapSettings(
                draws=self.bootstrap_draws, level=self.interval_level, seed=self.seed
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSources:
    """The variants that samples and predictions are read from, and the report's other content.

    ``expected_samples`` and ``expected_predictions`` map the current items to their input digests.
    ``rejected`` comes from all earlier stages. ``members`` are the variants of predictions of an
    ensemble's models, by name. ``earlier`` is the selection of another run with the same model,
    where this run cannot choose a threshold.
    """

    manifest: Variant
    expected_samples: Mapping[str, str]
    infer: Variant
    expected_predictions: Mapping[str, str]
    videos: Sequence[VideoRecord]
    rejected: Sequence[RejectedRecord]
    facts: RunFacts
    earlier: EarlierSelection | None = None
    members: Mapping[str, Variant] = field(default_factory=dict)


def variant_of(
    store: Store, config: AggregateConfig, *, manifest: Variant, infer: Variant
) -> Variant:
    """Open the variant of these settings, samples and predictions."""
    return open_variant(
        store,
        STAGE,
        version=VERSION,
        settings=config.model_dump(mode="json"),
        upstream=(manifest.variant_id, infer.variant_id),
    )


def expected_items(sources: ReportSources) -> dict[str, str]:
    """Return the single item, the report, with the digest of everything it contains.

    Predictions enter by value: recomputed ones (`--force infer`) have the same input digests.
    """
    expected = sources.expected_predictions
    digest = digest_of(
        dict(sources.expected_samples),
        dict(expected),
        [
            _probabilities(variant, expected)
            for variant in (sources.infer, *sources.members.values())
        ],
        [asdict(video) for video in sources.videos],
        [asdict(row) for row in sources.rejected],
        asdict(sources.facts),
        asdict(sources.earlier) if sources.earlier else None,
        {name: variant.path for name, variant in sources.members.items()},
    )
    return {REPORT_ITEM: digest}


def _probabilities(infer: Variant, expected: Mapping[str, str]) -> list[tuple[str, float]]:
    rows = infer.read(PredictionRecord, expected)
    return [(row.segment_id, row.p_ah) for row in rows]


def report_path(variant: Variant, expected: Mapping[str, str]) -> str:
    """Return the expected report's path relative to the store's root."""
    return _stored_path(variant, expected, REPORT_NAME)


def _stored_path(variant: Variant, expected: Mapping[str, str], name: str) -> str:
    """Return the path of a report's file, distinct for each content of the report."""
    return variant.file_path(f"{expected[REPORT_ITEM][:12]}/{name}")


def make_report(
    sources: ReportSources, config: AggregateConfig, stored_paths: Mapping[str, str], folder: Path
) -> ItemOutput:
    """Evaluate the predictions and write the report's files into an empty ``folder``.

    ``stored_paths`` maps each file's name to its path in the store.
    """
    evaluation = _evaluate(sources, config.plan(), folder)
    write_report(
        folder / REPORT_NAME, evaluation, sources.videos, sources.rejected, sources.facts,
        config.model_dump(mode="json"),
    )  # fmt: skip
    write_verdicts(folder / VERDICTS_NAME, evaluation.verdicts)
    rows = (evaluation.verdicts, evaluation.thresholds, evaluation.metrics, evaluation.members)
    return ItemOutput(
        item_id=REPORT_ITEM,
        rows=tuple(chain.from_iterable(rows)),
        files={stored: folder / name for name, stored in stored_paths.items()},
    )


def _evaluate(sources: ReportSources, plan: EvaluationPlan, folder: Path) -> Evaluation:
    """Write samples and predictions to Parquet files in ``folder`` and evaluate them."""
    samples_path = folder / "samples.parquet"
    samples = to_table(
        SampleRecord, sources.manifest.read(SampleRecord, sources.expected_samples)
    ).drop_columns(list(TRANSCRIPT_COLUMNS))
    write_parquet(samples, samples_path)
    paths = {}
    for number, (name, variant) in enumerate({ENSEMBLE: sources.infer, **sources.members}.items()):
        paths[name] = folder / f"predictions-{number}.parquet"
        rows = variant.read(PredictionRecord, sources.expected_predictions)
        write_parquet(to_table(PredictionRecord, rows), paths[name])
    evaluation = evaluate(samples_path, paths[ENSEMBLE], sources.videos, plan, sources.earlier)
    if not sources.members:
        return evaluation
    members = measure_members(samples_path, paths, evaluation, plan)
    return replace(evaluation, members=tuple(members))


@task(name="aggregate", task_run_name="aggregate the report", cache_policy=NO_CACHE)
def aggregate_shard(
    shard: Shard, sources: ReportSources, config: AggregateConfig, variant: Variant
) -> State:
    """Write the report if it is missing."""
    names = (REPORT_NAME, VERDICTS_NAME)
    stored = {name: _stored_path(variant, shard.expected, name) for name in names}
    with variant.store.staging() as folder:
        return as_state(
            compute_missing(
                variant, shard, lambda _: iter([make_report(sources, config, stored, folder)])
            )
        )
