"""Inference on several nodes: the missing segments in partitions, each a flow run of its own.

A partition is known by its number alone: each node computes the partition's segments from the
store that all nodes use, and fails if its segments, model or version differ from those of the
run that created the partitions.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from flows.context.context import Context, context_of
from flows.context.models import Model, Models, resolve_models
from flows.context.request import RunRequest
from flows.context.rows import read_manifest
from flows.context.settings import MODEL_SETTINGS, PROFILES_PATH, Settings
from flows.distributed import work_pool
from flows.distributed.progress import PartitionProgress
from flows.running.run_stage import run_stage
from flows.running.stage import Stage, StageReport
from flows.stage_definitions import infer_stage
from storage.errors import ConfigError, StageError
from storage.fingerprint import digest_of
from storage.records import SampleRecord
from storage.store.store import local_root
from storage.store.variant import Variant
from tasks.infer import infer_missing
from tasks.inference.samples import expected_items
from tasks.inference.settings import STAGE, InferConfig, InferResources
from tasks.log import LOGGER
from tasks.prompting.model_input import InputConfig
from tasks.stage import Shard, ShardResult, as_state

_ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)
_MIN_SEGMENTS = 16  # fewer are not worth starting an engine
_MANY_SEGMENTS = 4096  # so many that the 30 to 60 s in which an engine starts do not matter
_MAX_PER_NODE = 4
_POLL_SECONDS = 2.0
_VISIBILITY_SECONDS = 90.0  # for which a network file system may list files that are out of date


class Partition(BaseModel):
    """One of ``count`` partitions of the segments that one model has not predicted yet.

    ``expected`` is the digest of all segments, ``missing`` of those without a prediction when the
    partitions were created.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant_id: str
    expected: str
    missing: str
    number: int = Field(ge=1)
    count: int = Field(ge=1)

    @property
    def name(self) -> str:
        """The partition's name in the UI and in errors."""
        return f"partition {self.number} of {self.count}"

    def select(self, expected: Mapping[str, str]) -> dict[str, str]:
        """Return this partition's segments: every ``count``-th, in the order of a digest.

        The order depends on which segments are missing, so that what one partition leaves behind
        is spread over all partitions of the next run.
        """
        names = sorted(expected, key=lambda name: (digest_of(self.missing, name), name))
        return {name: expected[name] for name in names[self.number - 1 :: self.count]}


def num_partitions_for(num_missing: int, num_nodes: int) -> int:
    """Return how many partitions to create: one per node, up to four of very many segments.

    With several per node, a faster node takes more of them than the others.
    """
    per_node = min(_MAX_PER_NODE, max(1, num_missing // (num_nodes * _MANY_SEGMENTS)))
    return max(1, min(num_nodes * per_node, num_missing // _MIN_SEGMENTS))


def create_partitions(
    variant: Variant, expected: Mapping[str, str], num_nodes: int
) -> list[Partition]:
    """Partition segments for a number of nodes; return none if no prediction is missing."""
    missing = variant.pending(expected)
    count = num_partitions_for(len(missing), num_nodes) if missing else 0
    return [
        Partition(
            variant_id=variant.variant_id,
            expected=digest_of(sorted(expected.items())),
            missing=digest_of(sorted(missing)),
            number=number,
            count=count,
        )
        for number in range(1, count + 1)
    ]


def on_nodes(stage: Stage, context: Context) -> Stage:
    """Return the infer stage with a task that has the work pool's nodes compute what is missing."""
    return replace(
        stage,
        task=infer_on_nodes,
        arguments={**stage.arguments, "request": request_for_nodes(context)},
    )


@task(name="infer", task_run_name="infer on several nodes", cache_policy=NO_CACHE)
def infer_on_nodes(
    shard: Shard,
    request: RunRequest,
    samples: Mapping[str, SampleRecord],
    model_path: Path,
    config: InferConfig,
    input_config: InputConfig,
    resources: InferResources,
    variant: Variant,
) -> State:
    """Have nodes predict what is missing, then check all predictions as on a single node."""
    num_missing = len(variant.pending(shard.expected))
    if num_missing:
        _run_partitions(shard.expected, request, variant, resources.num_nodes)
    infer_missing(shard, samples, model_path, config, input_config, resources, variant)
    num_cached = len(shard.expected) - num_missing
    return as_state(ShardResult(num_cached=num_cached, num_computed=num_missing))


def _run_partitions(
    expected: Mapping[str, str], request: RunRequest, variant: Variant, num_nodes: int
) -> None:
    """Wait for unfinished partitions of an earlier run, then run partitions of what is left.

    Raises:
        ConfigError: the Prefect server lacks the deployment of partitions.
        StageError: a partition or the server failed, or this run was stopped.
    """
    pool, tag = work_pool.infer_work_pool(), tag_of(variant)
    progress = PartitionProgress(STAGE, variant, expected)
    if unfinished := work_pool.unfinished(tag):
        LOGGER.info("%s: waiting for %d partitions of an earlier run", STAGE, len(unfinished))
        for run in _failed(work_pool.wait_for(pool, unfinished, progress.report)):
            LOGGER.warning(
                "%s: %s: its missing segments are assigned again", STAGE, work_pool.why_ended(run)
            )
    partitions = create_partitions(variant, expected, num_nodes)
    if partitions:
        LOGGER.info("%s: %d partitions for the workers of pool %s", STAGE, len(partitions), pool)
        parameters = {
            partition.name: {
                "request": request.model_dump(mode="json"),
                "partition": partition.model_dump(),
            }
            for partition in partitions
        }
        runs = work_pool.submit_all(parameters, tag)
        _check_ended(work_pool.wait_for(pool, runs, progress.report), len(partitions))
    _wait_until_visible(variant, expected)


def tag_of(variant: Variant) -> str:
    """Return the tag of one model's partitions in one store, as a server may serve many stores."""
    return f"{STAGE}-{variant.variant_id}-{digest_of(variant.store.full_path(variant.path))[:8]}"


def _check_ended(runs: Sequence[FlowRun], count: int) -> None:
    failed = _failed(runs)
    if failed or len(runs) < count:
        reasons = "; ".join(map(work_pool.why_ended, failed)) or "their flow runs were deleted"
        raise StageError(
            f"{count - len(runs) + len(failed)} of {count} inference partitions failed: {reasons}. "
            "Finished predictions are kept: fix the cause and run again to compute the rest."
        )


def _failed(runs: Sequence[FlowRun]) -> list[FlowRun]:
    return [run for run in runs if run.state is None or not run.state.is_completed()]


def _wait_until_visible(variant: Variant, expected: Mapping[str, str]) -> None:
    """Wait until this node sees what the other nodes have written."""
    deadline = time.monotonic() + _VISIBILITY_SECONDS
    while missing := variant.pending(expected):
        if time.monotonic() > deadline:
            raise StageError(
                f"All partitions have ended, but {len(missing)} of {len(expected)} segments have "
                f"no prediction in {variant.store.url!r}: check that every node has this store at "
                "this path, and run again."
            )
        work_pool.pause(_POLL_SECONDS)


def request_for_nodes(context: Context) -> RunRequest:
    """Return a request for inference alone that another node understands: with absolute paths."""
    request = context.request
    root = local_root(request.store)
    is_file = request.profile.endswith(".toml")
    return request.model_copy(
        update={
            "data": request.data and str(Path(request.data).absolute()),
            "store": request.store if root is None else str(root.absolute()),
            "profile": str(Path(request.profile).absolute()) if is_file else request.profile,
            "model": tuple(map(_absolute_if_folder, request.models)) or None,
            "overrides": (*request.overrides, *_model_overrides(context.settings)),
            "only": (STAGE,),
            "start_at": None,
            "force": (),
        }
    )


def _model_overrides(settings: Settings) -> list[str]:
    """Return overrides with the absolute path of each model that the settings name as a folder.

    Names on the hub stay as they are, and so do Waver's own folders: they may have another path on
    another node, where the profile that names them finds them.
    """
    own = PROFILES_PATH.resolve()
    named = {
        f"{section}.{key}": Path(getattr(getattr(settings, section), key))
        for section, key in MODEL_SETTINGS
    }
    return [
        f"{setting}={path.absolute()}"
        for setting, path in named.items()
        if path.is_dir() and not path.is_relative_to(own.parent)
    ]


def _absolute_if_folder(model: str) -> str:
    path = Path(model).expanduser()
    return str(path.absolute()) if path.is_dir() else model


@flow(name="infer-partition", flow_run_name="{partition.name}", task_runner=_ONE_AT_A_TIME)
def infer_partition_flow(request: RunRequest, partition: Partition) -> State[StageReport]:
    """Predict one partition of a model's segments with the engines of this node."""
    with context_of(request) as context:
        manifest = read_manifest(context)
        _check_segments(context, expected_items(manifest.samples), partition)
        model = _find_model(context, resolve_models(context, manifest), partition)
        stage = infer_stage(context, manifest, model)
        return run_stage(replace(stage, expected=partition.select(stage.expected)), context)


def _check_segments(context: Context, expected: Mapping[str, str], partition: Partition) -> None:
    """Raise if this node has other segments than the run that created the partitions."""
    if digest_of(sorted(expected.items())) != partition.expected:
        raise StageError(
            f"This node finds other segments in {context.store.url!r} than the run that created "
            "the partitions: data or settings changed, or a network file system is out of date; "
            "run again."
        )


def _find_model(context: Context, models: Models, partition: Partition) -> Model:
    """Return the partition's model, or raise if its predictions would differ on this node."""
    for model in models.members:
        if model.variant.variant_id == partition.variant_id:
            return model
    raise ConfigError(
        "This node would predict differently from the run that created the partitions: make sure "
        f"that the model ({models.name!r}), the profile ({context.request.profile!r}) and Waver's "
        "version are the same on all nodes."
    )
