"""Inference dealt to several machines in shares, each a flow run that answers its own segments.

A share is told by its number: every machine computes its segments alike from the store that all of
them see, and refuses where it sees other segments, or has another model, than who dealt.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from flows.context.open import open_to_work
from flows.context.request import RunRequest
from flows.context.run_context import Run
from flows.context.settings import MODEL_SETTINGS, PROFILES_PATH, load_settings
from flows.distributed import work_pool as machines
from flows.distributed.progress import PartitionProgress
from flows.stage import StageReport, run_stage
from storage.errors import ConfigError, StageError
from storage.fingerprint import digest_of
from storage.records import SampleRecord
from storage.store.store import local_root
from storage.store.variant import Variant
from tasks.infer import infer_missing, infer_shard
from tasks.inference.settings import STAGE, InferConfig, InferResources
from tasks.log import LOGGER
from tasks.prompting.model_input import InputConfig
from tasks.stage import Shard, ShardResult, as_state

_ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)
_LEAST = 16  # segments for which it is worth to open an engine
_MANY = 4096  # segments beside which the 30 to 60 s that an engine takes to open are few
_MAX_PER_NODE = 4
_LOOK_SECONDS = 2.0
_LATE_SECONDS = 90.0  # for which a network disk may show an old listing

_Work = tuple[Mapping[str, SampleRecord], Path, InferConfig, InputConfig, InferResources, Variant]


class Partition(BaseModel):
    """One of ``count`` shares of one model's segments.

    ``wanted`` is the digest of all of them, ``missing`` of those that had no answer when the shares
    were dealt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant_id: str
    expected: str
    missing: str
    number: int = Field(ge=1)
    count: int = Field(ge=1)

    @property
    def name(self) -> str:
        """What the share is called in the UI and in errors."""
        return f"share {self.number} of {self.count}"

    def of(self, expected: Mapping[str, str]) -> dict[str, str]:
        """Give this share's segments: every ``count``-th, in the order of a digest.

        The order is another whenever others are missing, so that what one share left behind is
        spread over all of the next deal.
        """
        names = sorted(expected, key=lambda name: (digest_of(self.missing, name), name))
        return {name: expected[name] for name in names[self.number - 1 :: self.count]}


def num_partitions_for(num_missing: int, num_nodes: int) -> int:
    """Say into how many shares to deal: one a machine, of very many segments up to four.

    A machine that is quicker than the others then takes more of them.
    """
    per_node = min(_MAX_PER_NODE, max(1, num_missing // (num_nodes * _MANY)))
    return max(1, min(num_nodes * per_node, num_missing // _LEAST))


def dealt(variant: Variant, expected: Mapping[str, str], num_nodes: int) -> list[Partition]:
    """Deal segments into shares for so many machines; into none where nothing is missing."""
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


def asking(run: Run, model_path: Path) -> Callable[[Shard], PrefectFuture[Any]]:
    """Give what submits a shard of one model's segments: to this machine, or to several."""
    work, num_nodes = _work(run, model_path), run.settings.resources.infer.num_nodes
    if num_nodes == 1:
        return lambda shard: infer_shard.submit(shard, *work)
    return lambda shard: infer_on_nodes.submit(
        shard, run.request, run.infer_by(model_path), num_nodes,
        lambda: infer_missing(shard, *work),
    )  # fmt: skip


def _work(run: Run, model_path: Path) -> _Work:
    """Put together all that is asked of one model beside a shard of it."""
    settings = run.settings
    samples: dict[str, SampleRecord] = {sample.segment_id: sample for sample in run.samples}
    return (
        samples, model_path, settings.infer, settings.input, settings.resources.infer,
        run.infer_by(model_path),
    )  # fmt: skip


@task(name="infer", task_run_name="infer on several machines", cache_policy=NO_CACHE)
def infer_on_nodes(
    shard: Shard,
    request: RunRequest,
    variant: Variant,
    num_nodes: int,
    judge: Callable[[], ShardResult],
) -> State:
    """Have what is missing answered by the pool's machines; ``judge`` then sees all of it."""
    num_missing = len(variant.pending(shard.expected))
    if num_missing:
        _ask_machines(shard.expected, request, variant, num_nodes)
    judge()
    num_cached = len(shard.expected) - num_missing
    return as_state(ShardResult(num_cached=num_cached, num_computed=num_missing))


def _ask_machines(
    expected: Mapping[str, str], request: RunRequest, variant: Variant, num_nodes: int
) -> None:
    """Wait for shares that are under way already, then deal what is left, and wait for that.

    Raises:
        ConfigError: the Prefect server does not know the deployment of shares.
        StageError: a share failed, or the server did, or this run was stopped.
    """
    pool, tag = machines.infer_work_pool(), tag_of(variant)
    progress = PartitionProgress(STAGE, variant, expected)
    if under_way := machines.unfinished(tag):
        LOGGER.info("%s: waiting for %d shares of an earlier run", STAGE, len(under_way))
        for run in _failed(machines.wait_for(pool, under_way, progress.look)):
            LOGGER.warning("%s: %s: what it left is dealt again", STAGE, machines.why_ended(run))
    shares = dealt(variant, expected, num_nodes)
    if shares:
        LOGGER.info("%s: %d shares for the workers of pool %s", STAGE, len(shares), pool)
        asked = seen_anywhere(request).model_dump(mode="json")
        runs = machines.submit_all(
            {share.name: {"request": asked, "share": share.model_dump()} for share in shares}, tag
        )
        _check_ended(machines.wait_for(pool, runs, progress.look), len(shares))
    _wait_until_seen(variant, expected)


def tag_of(variant: Variant) -> str:
    """Name what a store's shares of one model are known by at a server that may serve many."""
    return f"{STAGE}-{variant.variant_id}-{digest_of(variant.store.full_path(variant.path))[:8]}"


def _check_ended(runs: Sequence[FlowRun], count: int) -> None:
    failed = _failed(runs)
    if failed or len(runs) < count:
        message = "; ".join(map(machines.why_ended, failed)) or "their runs were deleted"
        raise StageError(
            f"{count - len(runs) + len(failed)} of {count} shares of the inference failed, what "
            f"was answered is kept: {message}. See to it and run again to ask for the rest."
        )


def _failed(runs: Sequence[FlowRun]) -> list[FlowRun]:
    return [run for run in runs if run.state is None or not run.state.is_completed()]


def _wait_until_seen(variant: Variant, expected: Mapping[str, str]) -> None:
    """Wait until this machine sees what the others have written."""
    deadline = time.monotonic() + _LATE_SECONDS
    while missing := variant.pending(expected):
        if time.monotonic() > deadline:
            raise StageError(
                f"All shares have ended, but {len(missing)} of {len(expected)} segments have no "
                f"answer in {variant.store.url!r}: see that every machine has this store at this "
                "place, and run again."
            )
        machines.pause(_LOOK_SECONDS)


def seen_anywhere(request: RunRequest) -> RunRequest:
    """Ask for inference alone, naming every folder in full for a worker that runs elsewhere."""
    root = local_root(request.store)
    is_file = request.profile.endswith(".toml")
    return request.model_copy(
        update={
            "data": str(Path(request.data).absolute()),
            "store": request.store if root is None else str(root.absolute()),
            "profile": str(Path(request.profile).absolute()) if is_file else request.profile,
            "model": tuple(map(_in_full, request.models)) or None,
            "overrides": (*request.overrides, *_folders_set(request)),
            "only": (STAGE,),
            "start_at": None,
            "force": (),
        }
    )


def _folders_set(request: RunRequest) -> list[str]:
    """Set in full the models that settings name as folders.

    Left as they are: names of the hub, and the folders of Waver itself, which may lie elsewhere on
    another machine and are found there by the profile that names them.
    """
    settings, own = load_settings(request.profile, request.overrides), PROFILES_PATH.resolve()
    named = {
        f"{section}.{key}": Path(getattr(getattr(settings, section), key))
        for section, key in MODEL_SETTINGS
    }
    return [
        f"{setting}={path.absolute()}"
        for setting, path in named.items()
        if path.is_dir() and not path.is_relative_to(own.parent)
    ]


def _in_full(model: str) -> str:
    path = Path(model).expanduser()
    return str(path.absolute()) if path.is_dir() else model


@flow(name="infer-share", flow_run_name="{share.name}", task_runner=_ONE_AT_A_TIME)
def infer_partition_flow(request: RunRequest, share: Partition) -> State[StageReport]:
    """Answer one share of a model's segments, with the engines of this machine."""
    with open_to_work(request) as run:
        expected = share.of(_expected_here(run, share))
        model_path = _model_here(run, share)
        work = _work(run, model_path)
        return run_stage(
            run, "infer", run.infer_by(model_path), expected,
            lambda shard: infer_shard.submit(shard, *work),
            max(1, len(expected)),
        )  # fmt: skip


def _expected_here(run: Run, share: Partition) -> Mapping[str, str]:
    """Give all segments, of which the share is one part.

    Raises:
        StageError: they are not those that were dealt.
    """
    if digest_of(sorted(run.expected_segments.items())) != share.expected:
        raise StageError(
            f"This machine finds other segments in {run.store.url!r} than the run that dealt the "
            "shares, since data or settings changed or a network disk is late: run again."
        )
    return run.expected_segments


def _model_here(run: Run, share: Partition) -> Path:
    """Find the model that is asked.

    Raises:
        ModelError: it is not there.
        ConfigError: it, or Waver itself, is another one on this machine.
    """
    for name, variant in run.members.items():
        if variant.variant_id == share.variant_id:
            return run.model_paths[name]
    raise ConfigError(
        f"This machine would infer otherwise than the run that dealt the shares: see that model "
        f"({run.model_name!r}), profile ({run.request.profile!r}) and Waver's version are the same "
        "on all machines."
    )
