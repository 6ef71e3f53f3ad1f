import pytest

from storage.errors import StageError
from storage.results import TrainingStepRecord
from tasks.training.tracking.divergence import check_finite, check_trend
from tests.builders import a_training_step


def log_of(losses: list[float]) -> list[TrainingStepRecord]:
    return [a_training_step(step, loss=loss) for step, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(loss):
    with pytest.raises(StageError, match=r"diverged at step 7: .*Lower finetune.learning_rate"):
        check_finite(7, loss=loss, grad_norm=1.0, learning_rate=1e-3)
    with pytest.raises(StageError, match="diverged at step 7"):
        check_finite(7, loss=1.0, grad_norm=loss, learning_rate=1e-3)
    check_finite(7, loss=1.0, grad_norm=1.0, learning_rate=1e-3)


def test_a_loss_that_grows_and_stays_stops_the_run():
    check_trend(log_of([0.7] * 20 + [2.0] * 20))
    with pytest.raises(
        StageError, match=r"diverges: .* step 40 is 2.4, compared to 0.7 in the first 20"
    ):
        check_trend(log_of([0.7] * 20 + [2.4] * 20))


def test_one_hard_batch_a_low_or_a_high_initial_loss_stop_nothing():
    check_trend(log_of([0.7] * 39 + [25.0]))
    check_trend(log_of([0.01] * 20 + [0.6] * 20))
    check_trend(log_of([9.0] * 20 + [11.0] * 20))
    check_trend(log_of([0.1] * 5 + [50.0] * 20))  # within the first two windows
