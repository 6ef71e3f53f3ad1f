"""What ms-swift tells of its steps while it trains: a line of ``logging.jsonl`` each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.results import TrainingStepRecord

_HISTORY_NAME = "logging.jsonl"
_STEP = "global_step/max_steps"
_SECONDS = "train_speed(s/it)"


def read_history(output: Path, *, num_samples: int) -> list[TrainingStepRecord]:
    """Read the steps told so far, in order; a step that was made again counts as made last.

    ``loss`` is the mean over the answer and the end of its turn, ``seconds`` the mean of all steps
    up to this one.
    """
    rows = {row.step: row for row in _iter_rows(output / _HISTORY_NAME, num_samples)}
    return [rows[step] for step in sorted(rows)]


def drop_steps_after(output: Path, step: int) -> None:
    """Drop what was told of the steps after this one: they are made again."""
    path = output / _HISTORY_NAME
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if 0 < _step_of(_parsed(line)) <= step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _iter_rows(path: Path, num_samples: int) -> Iterator[TrainingStepRecord]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for message in map(_parsed, lines):
        if "loss" in message and (step := _step_of(message)):
            yield TrainingStepRecord(
                step=step,
                loss=float(message["loss"]),
                grad_norm=float(message.get("grad_norm", 0.0)),
                learning_rate=float(message.get("learning_rate", 0.0)),
                num_samples=num_samples,
                seconds=float(message.get(_SECONDS, 0.0)),
            )


def _step_of(message: dict[str, Any]) -> int:
    """Give the step that a line is about, as in ``"3/6"``; 0 if it is about none."""
    number = str(message.get(_STEP, "")).partition("/")[0]
    return int(number) if number.isdigit() else 0


def _parsed(line: str) -> dict[str, Any]:
    """Parse a line; the last one may be half written."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
