"""Running models in the Prefect UI: how far one is, and a training's curve, renewed meanwhile."""

import time
from pathlib import Path
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact, create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException

from tasks.log import LOGGER
from tasks.training.tracking.curve import Curve, as_markdown, read_curve

_SECONDS = 5.0


class CurveInUI:
    """One training's two artifacts, made at its first step; nothing outside of a task run.

    A server that does not answer is no reason to stop a training: it is told once, in the log.
    """

    def __init__(self, name: str, seconds: float = _SECONDS) -> None:
        self._name = name
        self._seconds = seconds
        self._due = 0.0
        self._ids: tuple[UUID, UUID] | None = None
        self._is_off = TaskRunContext.get() is None

    def show(self, curve_path: Path, *, is_last: bool = False) -> None:
        """Show how far a training is, unless it was shown a moment ago."""
        if self._is_off or not (is_last or time.monotonic() >= self._due):
            return
        curve = read_curve(curve_path)
        if curve is None or not curve.rows:
            return
        try:
            self._ids = self._renew(self._ids, curve) if self._ids else self._make(curve)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            self._is_off = True
            LOGGER.warning(
                "the curve of %s is not shown any more: the Prefect server did not take it (%s)",
                self._name,
                type(error).__name__,
            )
        self._due = time.monotonic() + self._seconds

    def _make(self, curve: Curve) -> tuple[UUID, UUID]:
        progress = create_progress_artifact(
            curve.percent, key="finetune-progress", description=f"How far {self._name} is."
        )
        drawn = create_markdown_artifact(
            as_markdown(curve), key="finetune-curve", description=f"The loss of {self._name}."
        )
        return UUID(str(progress)), UUID(str(drawn))

    def _renew(self, ids: tuple[UUID, UUID], curve: Curve) -> tuple[UUID, UUID]:
        with get_client(sync_client=True) as client:
            for artifact_id, content in zip(ids, (curve.percent, as_markdown(curve)), strict=True):
                client.update_artifact(artifact_id, ArtifactUpdate(data=content))
        return ids


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
