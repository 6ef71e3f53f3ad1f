"""A training's progress and loss curve as artifacts in the Prefect UI."""

import time
from pathlib import Path

from tasks.training.tracking.curve import Curve, as_markdown, read_curve
from tasks.ui_artifacts import ArtifactContent, RunArtifacts, format_duration

_UPDATE_SECONDS = 5.0


class CurveArtifact:
    """A progress bar and a loss curve, created at the first step and updated every few seconds."""

    def __init__(self, name: str, seconds: float = _UPDATE_SECONDS) -> None:
        self._name = name
        self._seconds = seconds
        self._due = 0.0
        self._artifacts = RunArtifacts(name)

    def update(self, curve_path: Path, *, is_last: bool = False) -> None:
        """Show the curve in a file, unless it does not exist yet or the last update is recent."""
        if not (is_last or time.monotonic() >= self._due):
            return
        curve = read_curve(curve_path)
        if curve is None or not curve.rows:
            return
        progress = ArtifactContent(
            key="finetune-progress",
            data=curve.percent,
            description=f"{self._name}: {_progress(curve)}",
        )
        loss = ArtifactContent(
            key="finetune-curve", data=as_markdown(curve), description=f"Loss of {self._name}."
        )
        self._artifacts.update([progress, loss])
        self._due = time.monotonic() + self._seconds


def _progress(curve: Curve) -> str:
    """Return the number of steps and the time left, without validation and saving."""
    last = curve.rows[-1].step
    if last == curve.num_steps:
        return f"{last} of {curve.num_steps} steps"
    seconds = sum(row.seconds + row.wait_seconds for row in curve.rows) / len(curve.rows)
    left = format_duration(seconds * (curve.num_steps - last))
    return f"{last} of {curve.num_steps} steps, {seconds:.1f} s per step, about {left} left"
