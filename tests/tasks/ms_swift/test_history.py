"""Lines as ms-swift 4.6 wrote them."""

from pathlib import Path

from tasks.ms_swift.history import drop_steps_after, read_history

STEP = (
    '{{"loss": {loss}, "grad_norm": 1.5, "learning_rate": 0.0005, "token_acc": 0.1, "epoch": 0.5, '
    '"global_step/max_steps": "{step}/6", "elapsed_time": "1s", "train_speed(s/it)": 0.75}}\n'
)
EVALUATED = '{"eval_loss": 9.9, "epoch": 1.5, "global_step/max_steps": "3/6"}\n'
LAST = '{"train_loss": 9.9, "epoch": 3.0, "global_step/max_steps": "6/6"}\n{"memory": 0}\n'


def with_log(folder: Path, text: str) -> Path:
    (folder / "logging.jsonl").write_text(text)
    return folder


def test_only_steps_are_rows_not_evaluations_and_totals(tmp_path: Path) -> None:
    steps = [STEP.format(step=step, loss=10.0 - step) for step in (1, 2, 3)]
    rows = read_history(with_log(tmp_path, "".join([*steps, EVALUATED, LAST])), num_samples=8)
    assert [(row.step, row.loss) for row in rows] == [(1, 9.0), (2, 8.0), (3, 7.0)]
    first = rows[0]
    assert (first.grad_norm, first.learning_rate, first.num_samples) == (1.5, 0.0005, 8)
    assert (first.seconds, first.val_loss) == (0.75, None)


def test_a_repeated_step_counts_once_and_an_incomplete_line_is_ignored(tmp_path: Path) -> None:
    text = STEP.format(step=1, loss=3.0) + STEP.format(step=1, loss=2.0) + '{"loss": 1.0, "glo'
    assert [row.loss for row in read_history(with_log(tmp_path, text), num_samples=1)] == [2.0]


def test_before_the_first_step_there_are_no_rows(tmp_path: Path) -> None:
    assert read_history(tmp_path, num_samples=1) == []
    drop_steps_after(tmp_path, 3)


def test_steps_after_a_checkpoint_are_dropped(tmp_path: Path) -> None:
    steps = [STEP.format(step=step, loss=1.0) for step in (1, 2, 3, 4)]
    drop_steps_after(with_log(tmp_path, "".join([*steps, LAST])), 2)
    assert [row.step for row in read_history(tmp_path, num_samples=1)] == [1, 2]
    assert LAST not in (tmp_path / "logging.jsonl").read_text()
