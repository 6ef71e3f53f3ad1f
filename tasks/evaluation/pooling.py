"""A video's segments pooled into one probability, by SQL that DuckDB runs over Parquet files.

DuckDB runs in memory, on one thread, and reads files alone: its version 2.0.0 has a fault in
scanning in-memory Arrow tables, and a `.duckdb` file locks out other processes.
"""

import contextlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import duckdb

from storage.errors import StageError
from tasks.evaluation.rows import EvaluatedSegment, EvaluatedVideo

PoolingRule = Literal["any", "mean", "top_k_mean", "noisy_or"]
POOLING_RULES: tuple[PoolingRule, ...] = get_args(PoolingRule)

Row = TypeVar("Row", EvaluatedSegment, EvaluatedVideo)


@contextlib.contextmanager
def open_segments(samples_path: Path, predictions_path: Path) -> Iterator["SegmentTable"]:
    """Open samples and predictions as one table of segments.

    Raises:
        StageError: a prediction is not a probability.
    """
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        segments = SegmentTable(connection)
        segments.run("segments", samples=str(samples_path), predictions=str(predictions_path))
        segments.check()
        yield segments


class SegmentTable:
    """The segments of all videos, with their predictions, as a table to ask questions of."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run one of the `.sql` files; gives its rows as mappings."""
        text = files(__package__).joinpath("sql", f"{query}.sql").read_text(encoding="utf-8")
        self._connection.execute(text, parameters or None)
        names = [column[0] for column in self._connection.description or ()]
        return [dict(zip(names, row, strict=True)) for row in self._connection.fetchall()]

    def check(self) -> None:
        """Refuse predictions outside [0, 1]."""
        given = [row["p_ah"] for row in self.run("rows") if row["p_ah"] is not None]
        wrong = [p_ah for p_ah in given if not 0 <= p_ah <= 1]
        if wrong:
            raise StageError(
                f"Of {len(given)} predictions, {len(wrong)} are no probability in [0, 1], the "
                f"first being {wrong[0]!r}: run the stage again with --force infer."
            )

    def segments(self) -> list[EvaluatedSegment]:
        """List all segments by video and time."""
        return [EvaluatedSegment(**row) for row in self.run("rows")]

    def videos(self) -> list[EvaluatedVideo]:
        """List all videos that have segments, by id."""
        return [EvaluatedVideo(**row) for row in self.run("videos")]

    def pool(self, rule: PoolingRule, top_k: int) -> dict[str, float]:
        """Pool each video's predictions in [0, 1]; videos without any are left out."""
        parameters = {"top_k": top_k} if rule == "top_k_mean" else {}
        rows = self.run(rule, **parameters)
        return {row["video_id"]: row["p_ah"] for row in rows if row["p_ah"] is not None}
