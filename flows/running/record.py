"""What a run of a stage leaves in the store's journal: how much it computed, and in what time."""

import functools
import os
import resource
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import pyarrow.compute as pc

from flows.context.context import Context
from flows.running.stage import Stage
from storage.errors import StoreError
from storage.media_records import SegmentRecord
from storage.records import RejectedRecord, SampleRecord
from storage.store.journal import StageRun, host_digest, write_run
from storage.store.part import Part, marker_paths, read_marker, read_rows
from tasks.aggregate import ReportSources
from tasks.log import LOGGER
from tasks.model.gpu import count_gpus, has_gpu_driver
from tasks.training.selection import select_samples

Result = TypeVar("Result")

_ON_GPU = frozenset({"transcribe", "finetune", "infer"})


def journaled(run: Callable[[Stage, Context], Result]) -> Callable[[Stage, Context], Result]:
    """Decorate a function that computes a stage: if it computed something, it leaves a record.

    So does one that failed after it computed something; one that was interrupted ends at once. A
    record that cannot be written is a warning, since the results are in the store by then.
    """

    @functools.wraps(run)
    def run_and_record(stage: Stage, context: Context) -> Result:
        clock = _Clock(stage)
        try:
            result = run(stage, context)
        except Exception:
            with suppress(Exception):  # the run's own error matters
                clock.record(context, failed=True)
            raise
        try:
            clock.record(context, failed=False)
        except Exception as error:  # noqa: BLE001 - of any kind: the results are in the store
            reason = str(error) if isinstance(error, StoreError) else type(error).__name__
            LOGGER.warning("%s: no record in the journal: %s", stage.name, reason)
        return result

    return run_and_record


class _Clock:
    """The time that a stage takes, and the parts that appear meanwhile."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._before = set(self._markers())
        self._started_at = time.time()
        self._started = time.monotonic()
        self._cpu_started = _cpu_seconds()

    def record(self, context: Context, *, failed: bool) -> None:
        """Add a record to the journal if items of the stage were computed since the start."""
        seconds, cpu_seconds = time.monotonic() - self._started, _cpu_seconds() - self._cpu_started
        stage = self._stage
        parts = list(self._new_parts())
        computed = {item for part in parts for item in part.items}
        if not computed:
            return
        segments_ms = _work_of(stage, context, parts, computed)
        is_elsewhere = context.settings.resources.runner != "local" and stage.needs is not None
        run = StageRun(
            stage=stage.name,
            variant_id=stage.variant.variant_id,
            started_at=self._started_at,
            seconds=seconds,
            cpu_seconds=None if is_elsewhere else cpu_seconds,
            num_expected=len(stage.expected),
            num_cached=max(0, len(stage.expected) - len(computed)),
            num_computed=len(computed),
            num_rejected=len(_rejected(stage, parts) & computed),
            num_segments=len(segments_ms),
            video_ms=sum(segments_ms),
            bytes_written=sum(part.num_bytes for part in parts),
            num_cpus=len(os.sched_getaffinity(0)),
            num_gpus=count_gpus() if stage.name in _ON_GPU and has_gpu_driver() else 0,
            host=host_digest(),
            failed=failed,
        )
        write_run(stage.variant.store, run)

    def _new_parts(self) -> Iterator[Part]:
        """Yield the parts that were added with items that this run expects."""
        expected = self._stage.expected
        for path in self._markers():
            part = None if path in self._before else read_marker(self._stage.variant.store, path)
            if part is not None and any(expected.get(i) == d for i, d in part.items.items()):
                yield part

    def _markers(self) -> list[str]:
        return marker_paths(self._stage.variant.store, self._stage.variant.path)


def _cpu_seconds() -> float:
    """Return the user and system time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _rejected(stage: Stage, parts: Sequence[Part]) -> set[str]:
    store, path = stage.variant.store, stage.variant.path
    return {row.item_id for part in parts for row in read_rows(store, path, part, RejectedRecord)}


def _work_of(
    stage: Stage, context: Context, parts: Sequence[Part], computed: Collection[str]
) -> list[int]:
    """Return the length in milliseconds of each segment among the items that were computed.

    A model's are the segments that it was trained on; a report's are those that it pools.
    """
    if stage.name == "segment":
        store, path = stage.variant.store, stage.variant.path
        rows = [row for part in parts for row in read_rows(store, path, part, SegmentRecord)]
        return [row.end_ms - row.start_ms for row in rows]
    if stage.name == "finetune":
        train, val = select_samples(stage.arguments["samples"], stage.arguments["config"])
        return [row.end_ms - row.start_ms for row in (*train, *val)] * len(computed)
    if stage.name == "aggregate":
        return _pooled(context, stage.arguments["sources"])
    items = (item for item in stage.expected if item in computed)
    return [row.end_ms - row.start_ms for item in items for row in _inputs(stage, item)]


def _pooled(context: Context, sources: ReportSources) -> list[int]:
    table = context.look(sources.manifest, sources.expected_samples).table(SampleRecord)
    return pc.subtract(table["end_ms"], table["start_ms"]).to_pylist()


def _inputs(stage: Stage, item: str) -> Sequence[SegmentRecord | SampleRecord]:
    """Return the segments that an item was computed from; none for an ensemble's mean."""
    if "segments" in stage.by_item:
        return stage.by_item["segments"][item]
    if "inputs" in stage.by_item:
        return stage.by_item["inputs"][item].segments
    return [stage.by_item["samples"][item]] if "samples" in stage.by_item else []
