"""What a run would compute: all stages in order, with time and disk by the store's own rates."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flows.context.context import open_context
from flows.context.request import RunRequest
from flows.planning.models import plan_models
from flows.planning.rates import NUM_RUNS, fit_rate, items_of, runs_of
from flows.planning.records import RunPlan, StagePlan
from flows.planning.videos import plan_videos
from storage.store.journal import StageRun, read_runs
from storage.store.store import Store


def plan_run(request: RunRequest) -> RunPlan:
    """Plan a run; writes nothing, and starts neither a server nor a model.

    Raises:
        WaverError: as `open_context`.
    """
    context = open_context(request, read_only=True)
    videos = plan_videos(context)
    runs = read_runs(context.store, per_stage=NUM_RUNS)
    videos.per_video = videos.per_video or _segments_per_video(runs)
    stages = [_with_rates(plan, runs) for plan in (*videos.stages, *plan_models(context, videos))]
    computing = [plan for plan in stages if plan.is_run and plan.num_missing]
    without = dict.fromkeys(plan.stage for plan in computing if plan.seconds is None)
    return RunPlan(
        stages=tuple(stages),
        seconds=sum(plan.seconds or 0.0 for plan in computing),
        num_bytes=sum(plan.num_bytes or 0.0 for plan in computing),
        free_bytes=free_bytes(context.store),
        without_rate=tuple(without),
        problems=tuple(_problems(stages)),
    )


def _segments_per_video(runs: Sequence[StageRun]) -> float | None:
    """Return how many segments a video had in earlier runs."""
    cut = [run for run in runs if run.stage == "segment"]
    num_videos = sum(run.num_computed - run.num_rejected for run in cut)
    return sum(run.num_segments for run in cut) / num_videos if num_videos > 0 else None


def _with_rates(plan: StagePlan, runs: Sequence[StageRun]) -> StagePlan:
    """Add the time and disk that a stage's missing items take."""
    if not plan.num_missing:
        return replace(plan, seconds=0.0, num_bytes=0.0) if plan.num_missing == 0 else plan
    own = runs_of(runs, plan.stage, plan.variant_id)
    seconds = fit_rate(own, items_of, lambda run: run.seconds)
    size = fit_rate(own, items_of, lambda run: float(run.bytes_written))
    return replace(
        plan,
        seconds=seconds.cost_of(plan.num_missing) if seconds else None,
        num_bytes=size.cost_of(plan.num_missing) if size else None,
    )


def free_bytes(store: Store) -> int | None:
    """Return the free space of a store's disk; ``None`` for a remote store."""
    if not store.is_local:
        return None
    folder = Path(store.root)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _problems(stages: Sequence[StagePlan]) -> list[str]:
    """Return why the run would stop: a stage that it skips is not finished."""
    last = max((i for i, plan in enumerate(stages) if plan.is_run), default=-1)
    return [
        f"{plan.stage} is not finished, and this run skips it: leave out --only, or run "
        f"--from {plan.stage}"
        for plan in stages[:last]
        if not plan.is_run and plan.num_missing != 0
    ]
