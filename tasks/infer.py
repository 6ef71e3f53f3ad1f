"""Stage 5, infer: the model's probability of A/H for every segment.

In: samples and a model folder. Out: one `PredictionRecord` a segment, from the log-probabilities of
Yes and No at the first generated position; or a `RejectedRecord` where its media is damaged. One
child process opens the model once for all that is missing, and commits in small parts.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from storage.errors import ItemFault, StoreError, WaverError
from storage.records import RejectedRecord, SampleRecord
from storage.results import PredictionRecord
from storage.schema import to_table, write_parquet
from storage.store import Store
from storage.variant import ItemOutput, Variant
from tasks.child import run_worker
from tasks.log import LOGGER
from tasks.omni.ahead import made_ahead
from tasks.omni.answer import Answer
from tasks.omni.checkpoint import stored_dtype
from tasks.omni.engine import Engine, EngineResources
from tasks.omni.inputs import InputConfig, OmniInput, build_input
from tasks.omni.lengths import longest_request
from tasks.omni.prompt import prompt_digest
from tasks.stage import Shard, ShardResult, as_state

STAGE = "infer"
VERSION = 1
_WARNING = "warning: "


class InferConfig(BaseModel):
    """What decides the content of predictions, beside the model and its input."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the computation; auto is the one that the weights were saved in."""
    max_tokens: int | None = Field(default=None, ge=64)
    """A segment that makes more tokens is rejected; by default the longest one's bound."""


class InferResources(EngineResources):
    """What changes only how fast predictions are made."""

    num_decoders: int = Field(default=2, ge=1, le=256)
    """Threads that decode segments ahead of the engine."""
    commit_seconds: float = Field(default=10.0, ge=0)
    """Results are committed this often; a kill loses no more than this."""


class InferJob(BaseModel):
    """All that the child process has to know; written as JSON beside the samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_url: str
    variant_id: str
    samples_path: Path
    log_path: Path
    model_path: Path
    dtype: str
    max_tokens: int
    input: InputConfig
    resources: InferResources


def variant_of(
    store: Store, config: InferConfig, input_config: InputConfig, model_fingerprint: str
) -> Variant:
    """Open the variant that these settings make with this model (`checkpoint.fingerprint_of`)."""
    settings = {
        **config.model_dump(),
        "input": input_config.model_dump(),
        "prompt": prompt_digest(input_config.prompt),
        "model": model_fingerprint,
    }
    return store.variant(STAGE, version=VERSION, settings=settings)


def wanted_of(samples: Sequence[SampleRecord]) -> dict[str, str]:
    """Name each segment with the digest of what the model sees of it."""
    return {sample.segment_id: sample.content_digest for sample in samples}


def infer_samples(
    samples: Sequence[SampleRecord],
    engine: Engine,
    store: Store,
    input_config: InputConfig,
    num_decoders: int,
) -> Iterator[ItemOutput]:
    """Ask the engine about each sample; one at fault yields its rejected row."""
    questions = made_ahead(
        samples,
        lambda sample: _question(sample, store, input_config),
        num_threads=num_decoders,
        num_ahead=2 * num_decoders,
    )
    for sample, answer in engine.answers(questions):
        if isinstance(answer, ItemFault):
            row: PredictionRecord | RejectedRecord = RejectedRecord(
                item_id=sample.segment_id, stage=STAGE, reason=str(answer)
            )
        else:
            row = _prediction(sample, answer)
        yield ItemOutput(item_id=sample.segment_id, rows=(row,))


def _question(
    sample: SampleRecord, store: Store, input_config: InputConfig
) -> OmniInput | ItemFault:
    """Decode one sample; a damaged one becomes its fault.

    Raises:
        StoreError: a file is gone, which is the store's trouble and not the segment's.
    """
    try:
        with store.open(sample.picture_path) as picture:
            if sample.sound_path is None:
                return build_input(input_config, picture=picture, sound=None, words=sample.words)
            with store.open(sample.sound_path) as sound:
                return build_input(input_config, picture=picture, sound=sound, words=sample.words)
    except ItemFault as fault:
        return fault
    except FileNotFoundError as error:
        raise StoreError(
            f"A segment's file is gone from {store.url!r}: run again with --from segment, which "
            "makes it anew."
        ) from error


def _prediction(sample: SampleRecord, answer: Answer) -> PredictionRecord:
    return PredictionRecord(
        segment_id=sample.segment_id,
        video_id=sample.video_id,
        p_ah=answer.p_ah,
        logp_yes=answer.logp_yes,
        logp_no=answer.logp_no,
        answer_mass=answer.answer_mass,
        num_text_tokens=answer.census.num_text_tokens,
        num_picture_tokens=answer.census.num_picture_tokens,
        num_sound_tokens=answer.census.num_sound_tokens,
    )


def infer_missing(
    shard: Shard,
    samples: Mapping[str, SampleRecord],
    model_path: Path,
    config: InferConfig,
    input_config: InputConfig,
    resources: InferResources,
    variant: Variant,
) -> ShardResult:
    """Run one child process for all of a shard's missing segments; none if nothing is missing."""
    pending = variant.pending(shard.wanted)
    if pending:
        rows = [samples[segment_id] for segment_id in pending]
        with variant.store.staging() as folder:
            job = InferJob(
                store_url=variant.store.url,
                variant_id=variant.variant_id,
                samples_path=folder / "samples.parquet",
                log_path=folder / "engine.log",
                model_path=model_path,
                dtype=stored_dtype(model_path) if config.dtype == "auto" else config.dtype,
                max_tokens=config.max_tokens or longest_request(rows, input_config, model_path),
                input=input_config,
                resources=resources,
            )
            write_parquet(to_table(SampleRecord, rows), job.samples_path)
            _run_child(job, folder / "job.json", variant)
    return ShardResult(num_cached=len(shard.wanted) - len(pending), num_made=len(pending))


def _run_child(job: InferJob, job_path: Path, variant: Variant) -> None:
    """Run the child to its end; the engine's log is kept only of one that failed."""
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    try:
        run_worker([sys.executable, "-m", "tasks.omni.infer_child", str(job_path)], on_line=_show)
    except WaverError as error:
        if not job.log_path.is_file():
            raise
        kept = f"{variant.path}/logs/{time.strftime('%Y%m%dT%H%M%S')}.log"
        variant.store.publish(job.log_path, kept)
        raise type(error)(f"{error} The engine's log: {variant.store.full_path(kept)}") from error


def _show(line: str) -> None:
    """Hand a line of the child on to the run's log."""
    if line.startswith(_WARNING):
        LOGGER.warning("%s: %s", STAGE, line.removeprefix(_WARNING))
    elif not line.startswith("error: "):  # that one is raised
        LOGGER.info("%s: %s", STAGE, line)


@task(name="infer", task_run_name="infer shard {shard.name}", cache_policy=NO_CACHE)
def infer_shard(
    shard: Shard,
    samples: Mapping[str, SampleRecord],
    model_path: Path,
    config: InferConfig,
    input_config: InputConfig,
    resources: InferResources,
    variant: Variant,
) -> State:
    """Infer a shard's missing segments."""
    return as_state(
        infer_missing(shard, samples, model_path, config, input_config, resources, variant)
    )
