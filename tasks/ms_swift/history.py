"""The step log that ms-swift writes while it trains: one line of ``logging.jsonl`` per step."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.results import TrainingStepRecord

_HISTORY_NAME = "logging.jsonl"
_STEP = "global_step/max_steps"
_SECONDS = "train_speed(s/it)"


def read_history(output: Path, *, num_samples: int) -> list[TrainingStepRecord]:
    """Read the logged steps in order; of a repeated step, the last entry counts.

    ``loss`` is the mean over the answer token and the end-of-turn token, ``seconds`` the mean over
    all steps up to this one.
    """
    rows = {row.step: row for row in _iter_rows(output / _HISTORY_NAME, num_samples)}
    return [rows[step] for step in sorted(rows)]


def drop_steps_after(output: Path, step: int) -> None:
    """Remove the log of later steps, which will be repeated."""
    path = output / _HISTORY_NAME
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if 0 < _step_of(_parsed(line)) <= step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _iter_rows(path: Path, num_samples: int) -> Iterator[TrainingStepRecord]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for entry in map(_parsed, lines):
        if "loss" in entry and (step := _step_of(entry)):
            yield TrainingStepRecord(
                step=step,
                loss=float(entry["loss"]),
                grad_norm=float(entry.get("grad_norm", 0.0)),
                learning_rate=float(entry.get("learning_rate", 0.0)),
                num_samples=num_samples,
                seconds=float(entry.get(_SECONDS, 0.0)),
            )


def _step_of(entry: dict[str, Any]) -> int:
    """Return an entry's step, given as ``"3/6"``, or 0 if it has none."""
    number = str(entry.get(_STEP, "")).partition("/")[0]
    return int(number) if number.isdigit() else 0


def _parsed(line: str) -> dict[str, Any]:
    """Parse a line; the last one may be incomplete."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
