"""How fast a training runs, told from its log."""

from collections.abc import Sequence
from typing import Any

from storage.results import TrainingStepRecord
from tasks.training.data.samples import num_positions, num_tokens
from tasks.training.distributed.ranks import Ranks


def throughput_of(
    rows: Sequence[Any], micro_batch_size: int, wait_seconds: float, ranks: Ranks
) -> dict[str, Any]:
    """Sum up what all ranks read and compute in a step, which waits for the slowest of them."""
    lengths = sorted(num_tokens(row) for row in rows)
    mine = (sum(lengths), num_positions(lengths, micro_batch_size), wait_seconds)
    tokens, positions, waits = zip(*ranks.gather(mine), strict=True)
    return {
        "num_tokens": sum(tokens),
        "padding_fraction": 1.0 - sum(tokens) / max(1, sum(positions)),
        "wait_seconds": max(waits),
    }


def wait_fraction(log: Sequence[TrainingStepRecord]) -> float:
    """Say what share of the steps' time was spent waiting for their rows."""
    waited = sum(row.wait_seconds for row in log)
    whole = waited + sum(row.seconds for row in log)
    return waited / whole if whole else 0.0


def line_of(log: Sequence[TrainingStepRecord], num_steps: int) -> str:
    """Tell the last step in one line, and what share of the time so far was spent waiting."""
    row = log[-1]
    line = f"step {row.step}/{num_steps} loss {row.loss:.4f} lr {row.learning_rate:.2e}"
    line += f" {row.num_samples / (row.seconds + row.wait_seconds):.1f} samples/s"
    line += f" waiting {wait_fraction(log):.1%} padding {row.padding_fraction:.1%}"
    figures = {
        "loss": row.val_loss, "macro F1": row.val_macro_f1, "AP": row.val_average_precision
    }  # fmt: skip
    shown = [f"{name} {value:.4f}" for name, value in figures.items() if value is not None]
    return f"{line}; validation {' '.join(shown)}" if shown else line
