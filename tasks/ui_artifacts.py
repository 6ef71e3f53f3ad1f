"""Progress of a running task, in the log and as artifacts in the Prefect UI."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact, create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException

from tasks.log import LOGGER

_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactContent:
    """What one artifact shows: a number is a progress bar in percent, a text is Markdown."""

    key: str
    data: float | str
    description: str


class TaskArtifacts:
    """Artifacts of the running task, created by the first update and changed by further ones.

    Outside of a task run it does nothing. If the server does not accept an update, the task runs on
    without further updates, after one warning.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ids: list[UUID] = []
        self._is_off = TaskRunContext.get() is None

    def update(self, contents: Sequence[ArtifactContent]) -> None:
        """Show these contents, as many and in the same order each time."""
        if self._is_off:
            return
        try:
            if self._ids:
                self._change(contents)
            else:
                self._ids = [_create(content) for content in contents]
        except (httpx.HTTPError, PrefectException, OSError) as error:
            self._is_off = True
            LOGGER.warning(
                "the progress of %s is no longer updated in the UI: the Prefect server rejected it "
                "(%s)", self._name, type(error).__name__,
            )  # fmt: skip

    def _change(self, contents: Sequence[ArtifactContent]) -> None:
        with get_client(sync_client=True) as client:
            for artifact_id, content in zip(self._ids, contents, strict=True):
                update = ArtifactUpdate(data=content.data, description=content.description)
                client.update_artifact(artifact_id, update)


def _create(content: ArtifactContent) -> UUID:
    options = {"key": content.key, "description": content.description}
    if isinstance(content.data, str):
        return UUID(str(create_markdown_artifact(content.data, **options)))
    return UUID(str(create_progress_artifact(content.data, **options)))


class ProgressReporter:
    """Reports how many of ``total`` segments are done, their rate and the time left.

    A report is one log line and a progress artifact, at most every few seconds. The clock starts
    with `start`, or with the first segments done, which then do not count in the rate: opening a
    model is not part of it.
    """

    def __init__(self, stage: str, total: int, *, seconds: float = _SECONDS) -> None:
        self.total = total
        self._stage = stage
        self._seconds = seconds
        self._artifacts = TaskArtifacts(stage)
        self._start: tuple[float, int] | None = None
        self._due = 0.0
        self._last = ""

    def start(self) -> None:
        """Start the clock, unless it runs."""
        self._start = self._start or (time.monotonic(), 0)

    @property
    def is_due(self) -> bool:
        """Whether the last report is old enough for another."""
        return time.monotonic() >= self._due

    def report(self, done: int, detail: str = "", *, is_last: bool = False) -> None:
        """Report the number done unless nothing changed or the last report is recent.

        The last report is made in any case. ``detail`` ends the line.
        """
        if not (is_last or self.is_due):
            return
        self._due = time.monotonic() + self._seconds
        if (counts := f"{done}{detail}") == self._last:
            return
        self._last = counts
        line = f"{done} of {self.total} segments{self._rate(done)}{detail}"
        LOGGER.info("%s: %s", self._stage, line)
        percent = 100 * done / max(self.total, 1)
        key = f"{self._stage}-progress"
        self._artifacts.update([ArtifactContent(key=key, data=percent, description=line)])

    def _rate(self, done: int) -> str:
        if self._start is None and done:
            self._start = time.monotonic(), done
        started_at, before = self._start or (0.0, done)
        if done == before:
            return ""
        seconds = max(time.monotonic() - started_at, 1e-9)
        rate = (done - before) / seconds
        if done < self.total:
            return f", {rate:.1f} per second, about {(self.total - done) / rate:.0f} s left"
        return "" if before else f", {rate:.1f} per second, in {seconds:.1f} s"
