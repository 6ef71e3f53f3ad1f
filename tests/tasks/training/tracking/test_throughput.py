import pytest
import torch

from storage.results import TrainingStepRecord
from tasks.training.distributed.ranks import Ranks
from tasks.training.tracking.throughput import progress_line, throughput_of, wait_fraction
from tests.builders import a_training_step


def row(step: int, seconds: float, wait_seconds: float) -> TrainingStepRecord:
    return a_training_step(
        step, learning_rate=0.1, num_samples=8, num_tokens=90, padding_fraction=0.1,
        seconds=seconds, wait_seconds=wait_seconds, val_loss=0.25,
    )  # fmt: skip


def test_waiting_is_a_fraction_of_the_total_time():
    log = [row(1, 2.0, 1.0), row(2, 1.0, 0.0)]
    assert wait_fraction(log) == pytest.approx(0.25)
    assert wait_fraction([]) == 0.0


def test_a_progress_line_shows_speed_including_waiting_and_padding():
    line = progress_line([row(1, 3.0, 1.0)], num_steps=9)
    assert line == (
        "step 1/9 loss 0.5000 lr 1.00e-01 2.0 samples/s data wait 25.0% padding 10.0%; "
        "validation loss 0.2500"
    )


def test_throughput_counts_readable_rows_only():
    rows = [{"input_ids": torch.zeros(length)} if length else None for length in (7, 0, 3, 4)]
    found = throughput_of(rows, 2, 0.5, Ranks(cpu=True))
    assert found["num_tokens"] == 14
    assert found["padding_fraction"] == pytest.approx(1 - 14 / (4 + 4 + 7))
    assert found["wait_seconds"] == 0.5
