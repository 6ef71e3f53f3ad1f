"""Pooling of a video's segments into one probability, by DuckDB queries over Parquet files.

DuckDB runs in memory, on one thread, and only reads files: version 2.0.0 has a bug in scanning
in-memory Arrow tables, and a `.duckdb` file would lock out other processes.
"""

import contextlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import duckdb

from storage.errors import StageError
from tasks.evaluation.rows import EvaluatedSegment, EvaluatedVideo

PoolingRule = Literal["any", "mean", "top_k_mean", "noisy_or"]  # each a query in sql/rules
POOLING_RULES: tuple[PoolingRule, ...] = get_args(PoolingRule)

Row = TypeVar("Row", EvaluatedSegment, EvaluatedVideo)


@contextlib.contextmanager
def open_segments(samples_path: Path, predictions_path: Path) -> Iterator["SegmentTable"]:
    """Open samples and predictions as one table of segments.

    Raises:
        StageError: A prediction is not a probability.
    """
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        segments = SegmentTable(connection)
        segments.run("segments", samples=str(samples_path), predictions=str(predictions_path))
        segments.check_probabilities()
        yield segments


class SegmentTable:
    """A queryable table of the segments of all videos, with their predictions."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a query of the folder `sql` by its path without suffix; return rows as mappings."""
        text = files(__package__).joinpath("sql", f"{query}.sql").read_text(encoding="utf-8")
        self._connection.execute(text, parameters or None)
        names = [column[0] for column in self._connection.description or ()]
        return [dict(zip(names, row, strict=True)) for row in self._connection.fetchall()]

    def check_probabilities(self) -> None:
        """Raise if a prediction is outside [0, 1]."""
        predictions = [row["p_ah"] for row in self.run("rows") if row["p_ah"] is not None]
        invalid = [p_ah for p_ah in predictions if not 0 <= p_ah <= 1]
        if invalid:
            raise StageError(
                f"{len(invalid)} of {len(predictions)} predictions are not probabilities in [0, 1] "
                f"(first: {invalid[0]!r}); run again with --force infer."
            )

    def segments(self) -> list[EvaluatedSegment]:
        """Return all segments, ordered by video and time."""
        return [EvaluatedSegment(**row) for row in self.run("rows")]

    def videos(self) -> list[EvaluatedVideo]:
        """Return all videos that have segments, ordered by id."""
        return [EvaluatedVideo(**row) for row in self.run("videos")]

    def pool(self, rule: PoolingRule, top_k: int) -> dict[str, float]:
        """Return each video's pooled probability; videos without predictions are left out."""
        parameters = {"top_k": top_k} if rule == "top_k_mean" else {}
        rows = self.run(f"rules/{rule}", **parameters)
        return {row["video_id"]: row["p_ah"] for row in rows if row["p_ah"] is not None}
