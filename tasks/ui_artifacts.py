"""Progress of a running stage or task, in the log and as artifacts in the Prefect UI."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact, create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import PrefectException

from tasks.log import LOGGER

_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactContent:
    """What one artifact shows: a number is a progress bar in percent, a text is Markdown."""

    key: str
    data: float | str
    description: str


class RunArtifacts:
    """Artifacts of the running task or flow, created by the first update, changed by further ones.

    Outside of a run it does nothing. If the server does not accept an update, the run continues
    without further updates, after one warning.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ids: list[UUID] = []
        self._is_off = not (TaskRunContext.get() or FlowRunContext.get())

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
    """Reports how many of ``total`` items are done, their rate and the time left.

    ``num_cached`` of them were done before. A report is one log line and a progress artifact, at
    most every few seconds. The clock starts with `start`, or with the first items done, which then
    do not count in the rate: opening a model is not part of it.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        *,
        unit: str = "segments",
        num_cached: int = 0,
        seconds: float = _SECONDS,
    ) -> None:
        self.total = total
        self._stage = stage
        self._unit = unit
        self._num_cached = num_cached
        self._seconds = seconds
        self._artifacts = RunArtifacts(stage)
        self._start: tuple[float, int] | None = None
        self._due = 0.0
        self._last = ""

    def start(self) -> None:
        """Start the clock, unless it runs."""
        self._start = self._start or (time.monotonic(), self._num_cached)

    def report(self, done: int, detail: str = "", *, is_last: bool = False) -> None:
        """Report the number done, cached ones included, if it changed and the last report is old.

        The last report is made in any case. ``detail`` follows the number.
        """
        if not is_last and time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._seconds
        if (counts := f"{done}{detail}") == self._last:
            return
        self._last = counts
        line = self._line(done, detail)
        LOGGER.info("%s: %s", self._stage, line)
        self._show(done, line)

    def show(self, done: int, detail: str = "") -> None:
        """Update the artifact alone, without a log line."""
        self._show(done, self._line(done, detail))

    def _show(self, done: int, line: str) -> None:
        percent = 100 * done / max(self.total, 1)
        key = f"{self._stage}-progress"
        self._artifacts.update([ArtifactContent(key=key, data=percent, description=line)])

    def _line(self, done: int, detail: str) -> str:
        return f"{done} of {self.total} {self._unit}{detail}{self._rate(done)}"

    def _rate(self, done: int) -> str:
        if self._start is None and done > self._num_cached:
            self._start = time.monotonic(), done
        started_at, before = self._start or (0.0, done)
        if done == before:
            return ""
        seconds = max(time.monotonic() - started_at, 1e-9)
        rate = (done - before) / seconds
        if done < self.total:
            left = format_duration((self.total - done) / rate)
            return f", {format_rate(rate)}, about {left} left"
        return "" if before > self._num_cached else f", {format_rate(rate)}, in {seconds:.1f} s"


def format_count(number: int, unit: str) -> str:
    """Format a number with its unit, which is given in the plural."""
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def format_rate(per_second: float, unit: str = "") -> str:
    """Format a rate per second, or per minute or hour if it is low."""
    items = f" {unit}" if unit else ""
    for time_unit, seconds in (("second", 1), ("minute", 60)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.1f}{items} per {time_unit}"
    return f"{per_second * 3600:.1f}{items} per hour"


def format_duration(seconds: float) -> str:
    """Format a duration in its largest units: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes, hours, days = round(seconds / 60), round(seconds / 60) // 60, seconds / 86_400
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if days < 2:
        return f"{hours} h {minutes % 60} min"
    return f"{round(seconds / 3600) // 24} d {round(seconds / 3600) % 24} h"
