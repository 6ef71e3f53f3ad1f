"""Watching a training: TensorBoard event files always, other trackers by name, and its curve.

Only figures of steps and the settings go into any of them. Trackers are accelerate's own
(https://huggingface.co/docs/accelerate/usage_guides/tracking), under the names that transformers'
``report_to`` knows them by.
"""

import dataclasses
import importlib.util
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from storage.errors import ToolError
from storage.results import TrainingStepRecord
from tasks.training.job import EVENTS_FOLDER
from tasks.training.settings import TrackerName
from tasks.training.tracking.curve import Curve, write_curve

PROJECT = "waver"
TENSORBOARD = "tensorboard"
_CURVE_SECONDS = 3.0


class StepListener(Protocol):
    """Whoever is told each step of a training."""

    def begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:
        """Hear of the steps that were made before, none at first, and how many there shall be."""

    def note(self, row: TrainingStepRecord) -> None:
        """Hear of a step."""

    def end(self) -> None:
        """Hear that there are no more."""


def check_trackers(report_to: Iterable[TrackerName]) -> None:
    """Refuse trackers whose packages are not installed; each has the name of its tracker.

    Raises:
        ToolError: says which are missing.
    """
    expected = (TENSORBOARD, *report_to)
    missing = [name for name in expected if importlib.util.find_spec(name) is None]
    if missing:
        raise ToolError(
            f"{' and '.join(missing)} cannot track a training: install the package of that name "
            "(pip install NAME), or leave it out of resources.finetune.report_to."
        )


class Trackers:
    """TensorBoard and whichever trackers were asked for.

    ``folder`` holds what they write here, the event files in ``events/``.
    """

    def __init__(
        self, folder: Path, report_to: Iterable[str] = (), settings: Mapping[str, Any] | None = None
    ) -> None:
        self._folder = folder
        self._report_to = tuple(report_to)
        self._settings = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in (settings or {}).items()
        }
        self._opened: list[Any] = []

    def begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:  # noqa: ARG002
        """Open them; of steps that a killed run made after its last checkpoint, none counts."""
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, TensorBoardTracker

        self._folder.mkdir(parents=True, exist_ok=True)
        board = TensorBoardTracker(EVENTS_FOLDER, self._folder, purge_step=len(log) + 1)
        board.start()
        self._opened = [board]
        for name in self._report_to:
            tracker_class = LOGGER_TYPE_TO_CLASS[name]
            location = (self._folder,) if tracker_class.requires_logging_directory else ()
            tracker = tracker_class(PROJECT, *location)
            tracker.start()
            tracker.store_init_configuration(self._settings)
            self._opened.append(tracker)

    def note(self, row: TrainingStepRecord) -> None:
        """Log a step's figures; they are on the disk when this returns."""
        for tracker in self._opened:
            tracker.log(figures_of_step(row), step=row.step)

    def end(self) -> None:
        """Close them."""
        for tracker in self._opened:
            tracker.finish()

    def keep_events(self, model_folder: Path) -> None:
        """Lay the event files beside the model, without the machine's name in theirs."""
        kept = model_folder / EVENTS_FOLDER
        kept.mkdir()
        for index, path in enumerate(sorted((self._folder / EVENTS_FOLDER).iterdir())):
            shutil.copy(path, kept / f"events.out.tfevents.{index:04d}")


def figures_of_step(row: TrainingStepRecord) -> dict[str, float]:
    """Give a step's figures under the names by which trackers group them."""
    figures = {
        name: value
        for name, value in dataclasses.asdict(row).items()
        if value is not None and name not in ("step", "num_samples")
    }
    figures["samples_per_second"] = row.num_samples / (row.seconds + row.wait_seconds)
    return {
        f"validation/{name[4:]}" if name.startswith("val_") else f"training/{name}": value
        for name, value in figures.items()
    }


class CurveFile:
    """The curve in a file that the parent process reads, renewed every few seconds."""

    def __init__(self, path: Path, seconds: float = _CURVE_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._due = 0.0
        self._curve = Curve()

    def begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:
        """Take over what was reached."""
        self._curve = Curve(num_steps=num_steps, rows=list(log))

    def note(self, row: TrainingStepRecord) -> None:
        """Append a step; the file is renewed if it is due, or if something was measured."""
        self._curve.rows.append(row)
        if row.val_loss is not None or time.monotonic() >= self._due:
            self.end()

    def end(self) -> None:
        """Renew the file."""
        write_curve(self._curve, self._path)
        self._due = time.monotonic() + self._seconds


class StepListeners:
    """Several of them as one."""

    def __init__(self, *watches: StepListener) -> None:
        self._watches = watches

    def begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:
        """Tell all."""
        for watch in self._watches:
            watch.begin(log, num_steps)

    def note(self, row: TrainingStepRecord) -> None:
        """Tell all."""
        for watch in self._watches:
            watch.note(row)

    def end(self) -> None:
        """Tell all."""
        for watch in self._watches:
            watch.end()
