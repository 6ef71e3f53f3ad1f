import importlib.util
from typing import ClassVar, get_args

import pytest

from storage.errors import ToolError
from storage.results import TrainingStepRecord
from tasks.training.settings import FinetuneResources, TrackerName, TrainingSettings
from tasks.training.tracking.curve import read_curve
from tasks.training.tracking.trackers import (
    CurveFile,
    StepListeners,
    Trackers,
    check_trackers,
    figures_of_step,
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


def test_a_killed_training_leaves_event_files_that_read_like_an_undisturbed_ones(tmp_path):
    killed = Trackers(tmp_path / "work")
    killed.begin([], 4)
    for step in (1, 2, 3):  # the last one is after the last checkpoint; nobody says end
        killed.note(row(step, loss=10.0 * step))
    resumed = Trackers(tmp_path / "work")
    resumed.begin([row(1), row(2)], 4)
    resumed.note(row(3, loss=0.5))
    resumed.note(row(4, loss=0.25, val_loss=0.75, val_macro_f1=0.5))
    resumed.end()
    model = tmp_path / "model"
    model.mkdir()
    resumed.keep_events(model)
    assert sorted(path.name[-4:] for path in (model / "events").iterdir()) == ["0000", "0001"]
    found = scalars(model / "events")
    assert found["training/loss"] == {1: 10, 2: 20, 3: 0.5, 4: 0.25}
    assert found["training/samples_per_second"] == dict.fromkeys((1, 2, 3, 4), 8)
    assert found["validation/loss"] == {4: 0.75}
    assert found["validation/macro_f1"] == {4: 0.5}
    killed.end()


def test_a_tracker_is_told_of_the_settings_and_each_step(tmp_path, monkeypatch):
    from accelerate import tracking

    class Noted(tracking.GeneralTracker):
        name = "noted"
        requires_logging_directory = False
        message: ClassVar[list[object]] = []

        def __init__(self, project: str) -> None:
            super().__init__()
            self.message.append(project)

        @property
        def tracker(self) -> list[object]:
            return self.message

        def store_init_configuration(self, values: dict) -> None:
            self.message.append(values)

        def log(self, values: dict, step: int | None = None, **kwargs: object) -> None:
            self.message.append((step, values["training/loss"]))

        def finish(self) -> None:
            self.message.append("end")

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "noted", Noted)
    trackers = Trackers(tmp_path, ("noted",), {"rank": 8, "parts": ("experts",), "steps": None})
    trackers.begin([], 1)
    trackers.note(row(1, loss=0.5))
    trackers.end()
    settings = {"rank": 8, "parts": "('experts',)", "steps": "None"}
    assert Noted.message == ["waver", settings, (1, 0.5), "end"]


def test_a_tracker_that_is_not_installed_is_refused_before_the_training(monkeypatch):
    check_trackers(())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "wandb" or None)
    with pytest.raises(ToolError, match=r"^wandb cannot track .*resources.finetune.report_to\.$"):
        check_trackers(("mlflow", "wandb"))


def test_every_tracker_that_can_be_named_is_one_of_accelerates():
    from accelerate.utils import LoggerType

    assert set(get_args(TrackerName)) <= set(LoggerType.list())
    assert "report_to" not in TrainingSettings.model_fields  # changes no weights
    assert FinetuneResources(report_to=("wandb",)).report_to == ("wandb",)


def test_only_figures_are_tracked():
    figures = figures_of_step(row(3, val_average_precision=0.5))
    assert set(figures) == {
        "training/loss", "training/grad_norm", "training/learning_rate", "training/seconds",
        "training/wait_seconds", "training/num_tokens", "training/padding_fraction",
        "training/samples_per_second", "validation/average_precision",
    }  # fmt: skip


def test_the_curve_is_renewed_when_due_when_measured_and_at_the_end(tmp_path):
    path = tmp_path / "curve.json"

    def last_step() -> int:
        return read_curve(path).rows[-1].step

    watch = CurveFile(path, seconds=3600)
    both = StepListeners(watch, CurveFile(tmp_path / "other.json", seconds=0))
    both.begin([row(1)], 6)
    both.note(row(2))
    assert last_step() == 2
    both.note(row(3))
    assert last_step() == 2
    assert read_curve(tmp_path / "other.json").rows[-1].step == 3
    both.note(row(4, val_loss=1.0))
    assert last_step() == 4
    both.note(row(5))
    both.end()
    assert last_step() == 5
    assert read_curve(path).num_steps == 6
