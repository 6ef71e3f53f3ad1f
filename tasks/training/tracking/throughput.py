"""Throughput of a training, computed from its log."""

from collections.abc import Sequence
from typing import Any

from storage.results import TrainingStepRecord
from tasks.training.data.samples import num_padded_tokens, num_tokens
from tasks.training.distributed.ranks import Ranks


def throughput_of(
    rows: Sequence[Any], micro_batch_size: int, wait_seconds: float, ranks: Ranks
) -> dict[str, Any]:
    """Return a step's tokens and padding over all ranks, and the longest wait for data."""
    lengths = sorted(num_tokens(row) for row in rows)
    local = (sum(lengths), num_padded_tokens(lengths, micro_batch_size), wait_seconds)
    tokens, padded_tokens, waits = zip(*ranks.gather(local), strict=True)
    return {
        "num_tokens": sum(tokens),
        "padding_fraction": 1.0 - sum(tokens) / max(1, sum(padded_tokens)),
        "wait_seconds": max(waits),
    }


def wait_fraction(log: Sequence[TrainingStepRecord]) -> float:
    """Return the fraction of the training time spent waiting for data, in [0, 1]."""
    waited = sum(row.wait_seconds for row in log)
    total = waited + sum(row.seconds for row in log)
    return waited / total if total else 0.0


def progress_line(log: Sequence[TrainingStepRecord], num_steps: int) -> str:
    """Format the last step, with the fraction of the time so far spent waiting for data."""
    row = log[-1]
    line = f"step {row.step}/{num_steps} loss {row.loss:.4f} lr {row.learning_rate:.2e}"
    line += f" {row.num_samples / (row.seconds + row.wait_seconds):.1f} samples/s"
    line += f" data wait {wait_fraction(log):.1%} padding {row.padding_fraction:.1%}"
    metrics = {
        "loss": row.val_loss, "macro F1": row.val_macro_f1, "AP": row.val_average_precision
    }  # fmt: skip
    defined = [f"{name} {value:.4f}" for name, value in metrics.items() if value is not None]
    return f"{line}; validation {' '.join(defined)}" if defined else line
