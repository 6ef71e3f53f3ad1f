"""Progress of inference on several nodes, from what they commit to the store they all use."""

from collections.abc import Mapping, Sequence

from prefect.client.schemas.objects import FlowRun

from flows.distributed.work_pool import has_ended, is_running
from storage.store.part import marker_paths, read_marker
from storage.store.variant import Variant
from tasks.ui_artifacts import ProgressReporter

_SECONDS = 10.0


class PartitionProgress:
    """Counts the predictions that were missing when it was created, as all nodes commit them.

    While partitions run, it counts by the parts' markers; once all have ended, it checks what the
    parts contain.
    """

    def __init__(self, stage: str, variant: Variant, expected: Mapping[str, str]) -> None:
        self._variant = variant
        self._seen = set(marker_paths(variant.store, variant.path))
        self._missing = {item: expected[item] for item in variant.pending(expected)}
        self._left = set(self._missing)
        self._reporter = ProgressReporter(stage, len(self._missing), seconds=_SECONDS)

    def report(self, runs: Sequence[FlowRun]) -> None:
        """Report the progress of the partitions' runs, unless the last report is recent."""
        is_last = all(map(has_ended, runs))
        if not (is_last or self._reporter.is_due):
            return
        num_left = self._count_pending() if is_last else self._count_uncommitted()
        done = len(self._missing) - num_left
        running, ended = sum(map(is_running, runs)), sum(map(has_ended, runs))
        detail = f"; of {len(runs)} partitions {running} are running, {ended} have ended"
        self._reporter.report(done, detail, is_last=is_last)

    def _count_pending(self) -> int:
        """Count segments without an intact prediction; reads every file of the variant."""
        return len(self._variant.pending(self._missing))

    def _count_uncommitted(self) -> int:
        """Count segments that no marker written since the start lists; reads each marker once."""
        for path in marker_paths(self._variant.store, self._variant.path):
            if path in self._seen:
                continue
            if part := read_marker(self._variant.store, path):
                self._seen.add(path)
                computed = part.items.items() & self._missing.items()
                self._left.difference_update(item for item, _ in computed)
        return len(self._left)
