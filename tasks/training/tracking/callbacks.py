"""What is notified of a training's steps, in the manner of transformers' TrainerCallback."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from storage.results import TrainingStepRecord
from tasks.training.tracking.curve import Curve, write_curve

_CURVE_SECONDS = 3.0


class TrainingCallback(Protocol):
    """A receiver of a training's steps."""

    def on_train_begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:
        """Receive the steps of earlier runs, none at first, and the planned number of steps."""

    def on_step(self, row: TrainingStepRecord) -> None:
        """Receive a finished step."""

    def on_train_end(self) -> None:
        """Receive the end of the training."""


class CallbackList:
    """Several callbacks as one."""

    def __init__(self, *callbacks: TrainingCallback) -> None:
        self._callbacks = callbacks

    def on_train_begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:
        """Notify every callback."""
        for callback in self._callbacks:
            callback.on_train_begin(log, num_steps)

    def on_step(self, row: TrainingStepRecord) -> None:
        """Notify every callback."""
        for callback in self._callbacks:
            callback.on_step(row)

    def on_train_end(self) -> None:
        """Notify every callback."""
        for callback in self._callbacks:
            callback.on_train_end()


class CurveFile:
    """The curve in a file for the parent process, rewritten every few seconds."""

    def __init__(self, path: Path, seconds: float = _CURVE_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._due = 0.0
        self._curve = Curve()

    def on_train_begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:
        """Start from the steps of earlier runs."""
        self._curve = Curve(num_steps=num_steps, rows=list(log))

    def on_step(self, row: TrainingStepRecord) -> None:
        """Append a step; the file is rewritten if it is due or the step was evaluated."""
        self._curve.rows.append(row)
        if row.val_loss is not None or time.monotonic() >= self._due:
            self._write()

    def on_train_end(self) -> None:
        """Write the whole curve."""
        self._write()

    def _write(self) -> None:
        write_curve(self._curve, self._path)
        self._due = time.monotonic() + self._seconds
