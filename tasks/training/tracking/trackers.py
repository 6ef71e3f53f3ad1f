"""Experiment trackers: TensorBoard event files always, others by name.

They receive step metrics and settings only. The trackers are accelerate's
(https://huggingface.co/docs/accelerate/usage_guides/tracking), under the names of transformers'
``report_to``.
"""

import dataclasses
import importlib.util
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.errors import ToolError
from storage.results import TrainingStepRecord
from tasks.training.job import EVENTS_FOLDER
from tasks.training.settings import TrackerName

PROJECT = "waver"
TENSORBOARD = "tensorboard"


def check_trackers(report_to: Iterable[TrackerName]) -> None:
    """Raise if a tracker's package, which has the tracker's name, is not installed.

    Raises:
        ToolError: names the missing packages.
    """
    expected = (TENSORBOARD, *report_to)
    missing = [name for name in expected if importlib.util.find_spec(name) is None]
    if missing:
        raise ToolError(
            f"The trackers {' and '.join(missing)} are not installed: install the packages of "
            "these names (pip install NAME), or remove them from resources.finetune.report_to."
        )


class Trackers:
    """A callback that logs to TensorBoard and the trackers in ``report_to``.

    Their files go to ``folder``, TensorBoard's event files to ``events/`` in it.
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
        self._trackers: list[Any] = []

    def on_train_begin(self, log: Sequence[TrainingStepRecord], num_steps: int) -> None:  # noqa: ARG002
        """Start the trackers; purges steps that a killed run logged after its last checkpoint."""
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, TensorBoardTracker

        self._folder.mkdir(parents=True, exist_ok=True)
        board = TensorBoardTracker(EVENTS_FOLDER, self._folder, purge_step=len(log) + 1)
        board.start()
        self._trackers = [board]
        for name in self._report_to:
            tracker_class = LOGGER_TYPE_TO_CLASS[name]
            folder = (self._folder,) if tracker_class.requires_logging_directory else ()
            tracker = tracker_class(PROJECT, *folder)
            tracker.start()
            tracker.store_init_configuration(self._settings)
            self._trackers.append(tracker)

    def on_step(self, row: TrainingStepRecord) -> None:
        """Log a step's metrics; they are on disk when this returns."""
        for tracker in self._trackers:
            tracker.log(step_metrics(row), step=row.step)

    def on_train_end(self) -> None:
        """Close the trackers."""
        for tracker in self._trackers:
            tracker.finish()

    def copy_events(self, model_folder: Path) -> None:
        """Copy the event files into a model's folder, without the host name in their names."""
        copies = model_folder / EVENTS_FOLDER
        copies.mkdir()
        for index, path in enumerate(sorted((self._folder / EVENTS_FOLDER).iterdir())):
            shutil.copy(path, copies / f"events.out.tfevents.{index:04d}")


def step_metrics(row: TrainingStepRecord) -> dict[str, float]:
    """Return a step's metrics under the prefixes by which trackers group them."""
    metrics = {
        name: value
        for name, value in dataclasses.asdict(row).items()
        if value is not None and name not in ("step", "num_samples")
    }
    metrics["samples_per_second"] = row.num_samples / (row.seconds + row.wait_seconds)
    return {
        f"validation/{name[4:]}" if name.startswith("val_") else f"training/{name}": value
        for name, value in metrics.items()
    }
