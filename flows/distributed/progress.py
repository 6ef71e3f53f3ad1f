"""How far inference on several machines is, told by what stands in the store they share."""

import time
from collections.abc import Mapping, Sequence

from prefect.client.schemas.objects import FlowRun

from flows.distributed.work_pool import has_ended, is_running
from storage.store.part import marker_paths, read_marker
from storage.store.variant import Variant
from tasks.log import LOGGER
from tasks.ui_artifacts import ProgressInUI

_SECONDS = 10.0


class PartitionProgress:
    """Counts the answers to what was missing when it was made, in the log and in the UI.

    The rate is that since the first answer, so that opening the engines is not counted. What the
    answers hold is checked once all shares have ended: until then markers tell.
    """

    def __init__(self, stage: str, variant: Variant, expected: Mapping[str, str]) -> None:
        self._stage = stage
        self._variant = variant
        self._seen = set(marker_paths(variant.store, variant.path))
        self._missing = {item: expected[item] for item in variant.pending(expected)}
        self._left = set(self._missing)
        self._total = len(self._missing)
        self._first: tuple[float, int] | None = None
        self._reported: tuple[object, ...] | None = None
        self._due = 0.0
        self._in_ui = ProgressInUI(stage)

    def look(self, runs: Sequence[FlowRun]) -> None:
        """Tell how far the shares are, unless nothing moved or it was told a moment ago."""
        is_last = all(map(has_ended, runs))
        if time.monotonic() < self._due and not is_last:
            return
        self._due = time.monotonic() + _SECONDS
        done = self._total - (self._count_left() if is_last else self._count_uncommitted())
        running, ended = sum(map(is_running, runs)), sum(map(has_ended, runs))
        if (done, running, ended) == self._reported:
            return
        self._reported = done, running, ended
        message = (
            f"{done} of {self._total} segments{self._rate(done)}; of {len(runs)} shares "
            f"{running} are running, {ended} have ended"
        )
        LOGGER.info("%s: %s", self._stage, message)
        self._in_ui.show(100 * done / max(self._total, 1), message, is_last=is_last)

    def _count_left(self) -> int:
        """Count what has no whole answer; every file of the variant is looked at."""
        return len(self._variant.pending(self._missing))

    def _count_uncommitted(self) -> int:
        """Count what no marker written since the beginning lists; each is read once."""
        for path in marker_paths(self._variant.store, self._variant.path):
            if path in self._seen:
                continue
            if part := read_marker(self._variant.store, path):
                self._seen.add(path)
                made = part.items.items() & self._missing.items()
                self._left.difference_update(item for item, _ in made)
        return len(self._left)

    def _rate(self, done: int) -> str:
        """Say how fast it goes and how long it takes, once there are answers to tell it by."""
        if self._first is None and done:
            self._first = time.monotonic(), done
        started, before = self._first or (0.0, done)
        if done in (before, self._total):
            return ""
        rate = (done - before) / (time.monotonic() - started)
        return f", {rate:.1f} a second, about {(self._total - done) / rate:.0f} s left"
