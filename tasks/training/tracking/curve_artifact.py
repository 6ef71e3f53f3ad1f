"""A training's progress and loss curve as artifacts in the Prefect UI."""

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

_UPDATE_SECONDS = 5.0


class CurveArtifact:
    """A progress bar and a loss curve, created at the first step and updated every few seconds.

    Outside of a task run it does nothing. If the server does not accept an update, training
    continues without further updates, after one warning.
    """

    def __init__(self, name: str, seconds: float = _UPDATE_SECONDS) -> None:
        self._name = name
        self._seconds = seconds
        self._due = 0.0
        self._ids: tuple[UUID, UUID] | None = None
        self._is_off = TaskRunContext.get() is None

    def update(self, curve_path: Path, *, is_last: bool = False) -> None:
        """Show the curve in a file, unless it does not exist yet or the last update is recent."""
        if self._is_off or not (is_last or time.monotonic() >= self._due):
            return
        curve = read_curve(curve_path)
        if curve is None or not curve.rows:
            return
        try:
            self._ids = self._update(self._ids, curve) if self._ids else self._create(curve)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            self._is_off = True
            LOGGER.warning(
                "the loss curve of %s is no longer updated: the Prefect server rejected it (%s)",
                self._name,
                type(error).__name__,
            )
        self._due = time.monotonic() + self._seconds

    def _create(self, curve: Curve) -> tuple[UUID, UUID]:
        progress_id = create_progress_artifact(
            curve.percent, key="finetune-progress", description=f"Progress of {self._name}."
        )
        curve_id = create_markdown_artifact(
            as_markdown(curve), key="finetune-curve", description=f"Loss of {self._name}."
        )
        return UUID(str(progress_id)), UUID(str(curve_id))

    def _update(self, ids: tuple[UUID, UUID], curve: Curve) -> tuple[UUID, UUID]:
        with get_client(sync_client=True) as client:
            for artifact_id, content in zip(ids, (curve.percent, as_markdown(curve)), strict=True):
                client.update_artifact(artifact_id, ArtifactUpdate(data=content))
        return ids
