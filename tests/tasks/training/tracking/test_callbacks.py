from storage.results import TrainingStepRecord
from tasks.training.tracking.callbacks import CallbackList, CurveFile
from tasks.training.tracking.curve import read_curve
from tests.builders import a_training_step


def row(step: int, **evaluated: float) -> TrainingStepRecord:
    return a_training_step(step, **evaluated)


def test_the_curve_file_is_rewritten_when_due_when_evaluated_and_at_the_end(tmp_path):
    path = tmp_path / "curve.json"

    def last_step() -> int:
        return read_curve(path).rows[-1].step

    curve_file = CurveFile(path, seconds=3600)
    both = CallbackList(curve_file, CurveFile(tmp_path / "other.json", seconds=0))
    both.on_train_begin([row(1)], 6)
    both.on_step(row(2))
    assert last_step() == 2
    both.on_step(row(3))
    assert last_step() == 2
    assert read_curve(tmp_path / "other.json").rows[-1].step == 3
    both.on_step(row(4, val_loss=1.0))
    assert last_step() == 4
    both.on_step(row(5))
    both.on_train_end()
    assert last_step() == 5
    assert read_curve(path).num_steps == 6
