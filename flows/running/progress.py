"""Progress of a running stage, from what is committed to the store, whoever computes it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Thread

from flows.running.stage import Stage
from storage.errors import StoreError
from storage.records import RejectedRecord
from storage.store.part import Part, marker_paths, read_marker, read_rows
from tasks.ui_artifacts import ProgressReporter

_SECONDS = 10.0
_JOIN_SECONDS = 10.0  # the server may not respond: that must not delay the end of a run


class StageProgress:
    """Counts the items of a stage that were missing when it was created, as they are committed.

    It counts by the parts' markers, and reads each of them once. Whether their files are intact is
    checked when the stage has ended.
    """

    def __init__(self, stage: Stage, missing: Collection[str]) -> None:
        self._variant = stage.variant
        self._missing = {item: stage.expected[item] for item in missing}
        self._seen = set(marker_paths(self._variant.store, self._variant.path))
        self._done: set[str] = set()
        self._rejected: set[str] = set()
        self._num_cached = len(stage.expected) - len(missing)
        self._reporter = ProgressReporter(
            stage.name, len(stage.expected), unit=stage.unit, num_cached=self._num_cached, seconds=0
        )

    def start(self) -> None:
        """Create the progress artifact."""
        self._reporter.show(self._num_cached, self._detail())

    def report(self, *, is_last: bool = False) -> None:
        """Report what was committed since the last report, if anything."""
        self._read_new_parts()
        # Nothing is new at first, and the end is logged with the stage's result.
        is_shown_only = is_last or not self._done
        report = self._reporter.show if is_shown_only else self._reporter.report
        report(self._num_cached + len(self._done), self._detail())

    def _detail(self) -> str:
        counts = {"cached": self._num_cached, "rejected": len(self._rejected)}
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f" ({text})" if text else ""

    def _read_new_parts(self) -> None:
        store, path = self._variant.store, self._variant.path
        for marker in marker_paths(store, path):
            if marker in self._seen or (part := read_marker(store, marker)) is None:
                continue
            self._seen.add(marker)
            self._add(part)

    def _add(self, part: Part) -> None:
        done = {item for item, _ in part.items.items() & self._missing.items()}
        self._done |= done
        rejected = read_rows(self._variant.store, self._variant.path, part, RejectedRecord)
        self._rejected |= done & {row.item_id for row in rejected}


@contextmanager
def follow(stage: Stage, missing: Collection[str], seconds: float = _SECONDS) -> Iterator[None]:
    """Report a stage's progress every few seconds while the body runs, if anything is missing."""
    if not (missing and stage.is_followed):
        yield
        return
    progress, ended = StageProgress(stage, missing), Event()

    def run() -> None:
        progress.start()
        while not ended.wait(seconds):
            _report(progress)

    # In the flow's context: its log and artifacts then belong to the flow run.
    thread = Thread(target=copy_context().run, args=(run,), daemon=True, name="stage-progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_JOIN_SECONDS)
    _report(progress, is_last=True)


def _report(progress: StageProgress, *, is_last: bool = False) -> None:
    """Report, unless the store does not respond right now: that must not stop the stage."""
    try:
        progress.report(is_last=is_last)
    except (OSError, StoreError):
        return
