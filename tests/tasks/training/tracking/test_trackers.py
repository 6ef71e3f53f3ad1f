import importlib.util
from typing import ClassVar, get_args

import pytest

from storage.errors import ToolError
from storage.results import TrainingStepRecord
from tasks.training.settings import FinetuneResources, TrackerName, TrainingSettings
from tasks.training.tracking.trackers import (
    Trackers,
    check_trackers,
    step_metrics,
)
from tests.builders import a_training_step


def row(step: int, loss: float = 1.0, **measured: float) -> TrainingStepRecord:
    return a_training_step(step, loss=loss, grad_norm=2.0, **measured)


def scalars(folder) -> dict[str, dict[int, float]]:
    """Read event files as TensorBoard does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


def test_event_files_of_a_killed_and_resumed_training_read_like_those_of_one_run(tmp_path):
    killed = Trackers(tmp_path / "work")
    killed.on_train_begin([], 4)
    for step in (1, 2, 3):  # step 3 is after the last checkpoint
        killed.on_step(row(step, loss=10.0 * step))
    resumed = Trackers(tmp_path / "work")
    resumed.on_train_begin([row(1), row(2)], 4)
    resumed.on_step(row(3, loss=0.5))
    resumed.on_step(row(4, loss=0.25, val_loss=0.75, val_macro_f1=0.5))
    resumed.on_train_end()
    model = tmp_path / "model"
    model.mkdir()
    resumed.copy_events(model)
    assert sorted(path.name[-4:] for path in (model / "events").iterdir()) == ["0000", "0001"]
    found = scalars(model / "events")
    assert found["training/loss"] == {1: 10, 2: 20, 3: 0.5, 4: 0.25}
    assert found["training/samples_per_second"] == dict.fromkeys((1, 2, 3, 4), 8)
    assert found["validation/loss"] == {4: 0.75}
    assert found["validation/macro_f1"] == {4: 0.5}
    killed.on_train_end()


def test_a_tracker_receives_the_settings_and_each_step(tmp_path, monkeypatch):
    from accelerate import tracking

    class RecordingTracker(tracking.GeneralTracker):
        name = "recording"
        requires_logging_directory = False
        calls: ClassVar[list[object]] = []

        def __init__(self, project: str) -> None:
            super().__init__()
            self.calls.append(project)

        @property
        def tracker(self) -> list[object]:
            return self.calls

        def store_init_configuration(self, values: dict) -> None:
            self.calls.append(values)

        def log(self, values: dict, step: int | None = None, **kwargs: object) -> None:
            self.calls.append((step, values["training/loss"]))

        def finish(self) -> None:
            self.calls.append("end")

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "recording", RecordingTracker)
    trackers = Trackers(tmp_path, ("recording",), {"rank": 8, "parts": ("experts",), "steps": None})
    trackers.on_train_begin([], 1)
    trackers.on_step(row(1, loss=0.5))
    trackers.on_train_end()
    settings = {"rank": 8, "parts": "('experts',)", "steps": "None"}
    assert RecordingTracker.calls == ["waver", settings, (1, 0.5), "end"]


def test_a_missing_tracker_is_rejected_before_the_training(monkeypatch):
    check_trackers(())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "wandb" or None)
    with pytest.raises(
        ToolError, match=r"trackers wandb are not installed: .*resources.finetune.report_to\.$"
    ):
        check_trackers(("mlflow", "wandb"))


def test_every_tracker_name_is_one_of_accelerates():
    from accelerate.utils import LoggerType

    assert set(get_args(TrackerName)) <= set(LoggerType.list())
    assert "report_to" not in TrainingSettings.model_fields  # changes no weights
    assert FinetuneResources(report_to=("wandb",)).report_to == ("wandb",)


def test_only_metrics_are_tracked():
    metrics = step_metrics(row(3, val_average_precision=0.5))
    assert set(metrics) == {
        "training/loss", "training/grad_norm", "training/learning_rate", "training/seconds",
        "training/wait_seconds", "training/num_tokens", "training/padding_fraction",
        "training/samples_per_second", "validation/average_precision",
    }  # fmt: skip
