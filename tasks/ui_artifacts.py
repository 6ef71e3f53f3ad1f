"""The progress of a running stage as an artifact in the Prefect UI."""

import time
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException

from tasks.log import LOGGER

_SECONDS = 5.0


class ProgressInUI:
    """How far a stage's model is, as one artifact made when it is first told; only in a task run.

    A server that does not answer stops nothing: it is told once, in the log.
    """

    def __init__(self, name: str, seconds: float = _SECONDS) -> None:
        self._name = name
        self._seconds = seconds
        self._due = 0.0
        self._id: UUID | None = None
        self._is_off = TaskRunContext.get() is None

    def show(self, percent: float, message: str, *, is_last: bool = False) -> None:
        """Show a share in [0, 100] and a line about it, unless it was shown a moment ago."""
        if self._is_off or not (is_last or time.monotonic() >= self._due):
            return
        self._due = time.monotonic() + self._seconds
        try:
            self._id = self._renew(self._id, percent, message) if self._id else self._make(percent)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            self._is_off = True
            LOGGER.warning(
                "how far %s is, is not shown any more: the Prefect server did not take it (%s)",
                self._name,
                type(error).__name__,
            )

    def _make(self, percent: float) -> UUID:
        made = create_progress_artifact(
            percent, key=f"{self._name}-progress", description=f"How far {self._name} is."
        )
        return UUID(str(made))

    def _renew(self, artifact_id: UUID, percent: float, message: str) -> UUID:
        with get_client(sync_client=True) as client:
            client.update_artifact(artifact_id, ArtifactUpdate(data=percent, description=message))
        return artifact_id
