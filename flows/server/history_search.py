"""A read-only search of Prefect's local history for traces of one participant.

Artifacts that list rejected videos name them, and so may the error message of a failed run.
"""

import contextlib
import sqlite3
from pathlib import Path

from storage.erasure.traces import Traces

DATABASE = "prefect.db"


def count_traces(history: Path, traces: Traces) -> int | None:
    """Return how many rows name the participant, or None if the history cannot be read."""
    address = f"{(history / DATABASE).resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            connection.text_factory = lambda content: content.decode(errors="replace")
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return sum(_count_in(connection, name, traces) for (name,) in tables.fetchall())
    except sqlite3.Error:
        return None


def _count_in(connection: sqlite3.Connection, table: str, traces: Traces) -> int:
    quoted = table.replace('"', '""')
    return sum(
        any(isinstance(value, str) and traces.in_text(value) for value in row)
        for row in connection.execute(f'SELECT * FROM "{quoted}"')
    )
