"""Stage 5, infer: the model's probability of A/H for every segment.

In: samples and a model folder. Out: one `PredictionRecord` per segment, from the log-probabilities
of Yes and No at the first generated position; or a `RejectedRecord` if all of its media is damaged
or it crashes the engine. A segment with a damaged video or audio is predicted without it, and
counted in a warning. One child process per engine opens the model once for all missing segments,
and commits in small parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect import State, task
from prefect.cache_policies import NO_CACHE

from storage.errors import StageError
from storage.records import SampleRecord
from storage.results import PredictionRecord
from storage.store.store import Store
from storage.store.variant import Variant, open_variant
from tasks.inference.engines import EngineRound, Engines, LocalEngines
from tasks.inference.failures import Failures
from tasks.inference.isolation import Crash, predict_all
from tasks.inference.progress import EngineLines
from tasks.inference.settings import STAGE, InferConfig, InferResources
from tasks.log import LOGGER
from tasks.model.model_folder import computed_dtype
from tasks.prompting.model_input import InputConfig
from tasks.prompting.prompt import prompt_digest
from tasks.prompting.request_length import by_length, check_lengths, check_limit, longest_request
from tasks.stage import Shard, ShardResult, as_state

VERSION = 4
_NOT_IN_IDENTITY = {"seeds", "adapter", "max_failed_fraction", "min_answer_mass"}
LOCAL = LocalEngines()


def variant_of(
    store: Store, config: InferConfig, input_config: InputConfig, model_fingerprint: str
) -> Variant:
    """Open the variant of these settings and this model (`fingerprint_of` its folder)."""
    settings = {
        **config.model_dump(exclude=_NOT_IN_IDENTITY),
        "input": input_config.model_dump(),
        "prompt": prompt_digest(input_config.prompt),
        "model": model_fingerprint,
    }
    return open_variant(store, STAGE, version=VERSION, settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShardInference:
    """The arguments of `infer_missing`, and what follows from them."""

    shard: Shard
    samples: Mapping[str, SampleRecord]
    model_path: Path
    config: InferConfig
    input_config: InputConfig
    resources: InferResources
    variant: Variant
    engines: Engines

    def pending(self) -> list[str]:
        """List the segments without a prediction or a rejection."""
        return self.variant.pending(self.shard.expected)

    def failures(self) -> Failures:
        """Return the shard's failed segments and their limit."""
        return Failures(
            stage=STAGE, variant=self.variant, expected=self.shard.expected,
            samples=self.samples.values(), input_config=self.input_config,
            max_fraction=self.config.max_failed_fraction,
        )  # fmt: skip

    def max_tokens(self) -> int:
        """Return the engine's request length: the setting, or a bound on the longest segment."""
        samples = [self.samples[item] for item in self.shard.expected]
        return self.config.max_tokens or longest_request(
            samples, self.input_config, self.model_path
        )


def infer_missing(
    shard: Shard,
    samples: Mapping[str, SampleRecord],
    model_path: Path,
    config: InferConfig,
    input_config: InputConfig,
    resources: InferResources,
    variant: Variant,
    engines: Engines = LOCAL,
) -> ShardResult:
    """Run one child process per engine for a shard's missing segments; none if nothing is missing.

    Raises:
        StageError: too many segments failed, or engines crash without progress.
        ConfigError: too many segments have more than ``max_tokens`` tokens.
        ModelError: the model does not take ``max_tokens``, or cannot be opened.
    """
    work = _ShardInference(
        shard=shard, samples=samples, model_path=model_path, config=config,
        input_config=input_config, resources=resources, variant=variant, engines=engines,
    )  # fmt: skip
    num_pending = len(work.pending())
    if num_pending:
        work.failures().check()
        _check_lengths(work)
        predict_all(work.pending, partial(_run_engines, work), work.failures().reject)
    work.failures().check()
    if missing := len(work.pending()):
        raise StageError(
            f"The engines ended, but {missing} of {len(shard.expected)} segments have no "
            f"prediction in {variant.store.url!r}: run again."
        )
    _report_predictions(work)
    return ShardResult(num_cached=len(shard.expected) - num_pending, num_computed=num_pending)


def _check_lengths(work: _ShardInference) -> None:
    """Raise or warn, before an engine opens, if segments are longer than it takes."""
    check_limit(work.config.max_tokens, work.model_path)
    check_lengths(
        [work.samples[item] for item in work.pending()],
        work.input_config,
        work.model_path,
        work.variant.store,
        max_tokens=work.max_tokens(),
        num_allowed=work.failures().count_left(),
    )


def _run_engines(
    work: _ShardInference, pending: Sequence[str], alone: Sequence[str]
) -> list[Crash]:
    """Run the engines once over the pending segments and return the crashes."""
    rows = by_length([work.samples[item] for item in pending], work.input_config, work.model_path)
    engine_round = EngineRound(
        variant=work.variant,
        alone=tuple(alone),
        max_failures=work.failures().count_left(),
        model_path=work.model_path.absolute(),
        dtype=computed_dtype(work.model_path, work.config.dtype),
        max_tokens=work.max_tokens(),
        input=work.input_config,
        resources=work.resources,
        num_engines=min(work.engines.count(work.resources), len(rows)),
        num_samples=len(rows),
    )
    return work.engines.run(engine_round, rows, EngineLines(STAGE).on_line)


def _report_predictions(work: _ShardInference) -> None:
    """Log how many predictions are not a clear Yes or No, and how many lack video or audio."""
    rows = work.variant.read(PredictionRecord, work.shard.expected)
    num_without_video = sum(not row.has_video for row in rows)
    num_without_audio = sum(not row.has_audio for row in rows)
    if num_without_video or num_without_audio:
        LOGGER.info(
            "%s: of %d segments %d were predicted without video and %d without audio",
            STAGE, len(rows), num_without_video, num_without_audio,
        )  # fmt: skip
    work.failures().warn()
    num_low = sum(row.answer_mass < work.config.min_answer_mass for row in rows)
    if num_low:
        LOGGER.warning(
            "%s: in %d of %d predictions Yes and No have less than %.0f%% of the probability: the "
            "model may not know this prompt",
            STAGE, num_low, len(rows), 100 * work.config.min_answer_mass,
        )  # fmt: skip


@task(name="infer", task_run_name="infer shard {shard.title}", cache_policy=NO_CACHE)
def infer_shard(
    shard: Shard,
    samples: Mapping[str, SampleRecord],
    model_path: Path,
    config: InferConfig,
    input_config: InputConfig,
    resources: InferResources,
    variant: Variant,
    engines: Engines = LOCAL,
) -> State:
    """Predict a shard's missing segments as a Prefect task."""
    return as_state(
        infer_missing(shard, samples, model_path, config, input_config, resources, variant, engines)
    )
