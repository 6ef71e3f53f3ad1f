"""The audit of a data set before any work on it: what it holds, and what is wrong with it."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from storage.annotation_cache import AnnotationCache
from storage.dataset import Dataset, check_apart, read_dataset
from storage.errors import ConfigError
from storage.results import AuditRecord
from storage.schema import schema_of, to_table
from tasks.audit.counts import count_videos
from tasks.audit.files import SeenFiles, look_at
from tasks.audit.findings import (
    Finding,
    beyond_the_end,
    divided_participants,
    empty_splits,
    same_files,
    summarise,
    told_by_reader,
    unopened,
)
from tasks.audit.table import audit_table
from tasks.exports.files import check_out, write_export

EXIT_FINE = 0
EXIT_UNTRUSTWORTHY = 1


def check_and_show(data: str, store: str, out: Path | None) -> int:
    """Audit a data set, show the outcome and write it; makes nothing else but the store's cache.

    Returns the exit status: 0, or 1 where something makes results untrustworthy.

    Raises:
        ConfigError: `out` is no file that ends in .parquet, or the store lies among the videos.
        DataError: the data folder is missing or cannot be read.
        ToolError: ffprobe is not installed.
    """
    _check_out(out)
    check_apart(data, store)
    console = Console()
    dataset = read_dataset(data, AnnotationCache(store))
    records = list(audit(dataset, _look_at(dataset, console)))
    console.print(audit_table(dataset.root.resolve().name, records))
    if out is not None:
        write_export(out, schema_of(AuditRecord), [_table_of(records)], {"kind": "audit"})
        console.print(f"Audit: {out}", soft_wrap=True, highlight=False)
    return EXIT_UNTRUSTWORTHY if any(record.spoils for record in records) else EXIT_FINE


def audit(dataset: Dataset, files: SeenFiles) -> Iterator[AuditRecord]:
    """Give everything that there is to say of a data set whose files were looked at."""
    yield from count_videos(dataset.videos, files.durations)
    yield from summarise(_find(dataset, files))


def _find(dataset: Dataset, files: SeenFiles) -> Iterator[Finding]:
    yield from told_by_reader(dataset)
    yield from divided_participants(dataset.videos)
    yield from empty_splits(dataset.videos)
    yield from unopened(files.faults)
    yield from beyond_the_end(dataset.videos, files.durations)
    yield from same_files(dataset.videos, files.digests)


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix.lower() != ".parquet":
        raise ConfigError(
            f"The audit {str(out)!r} is no Parquet file: name one that ends in .parquet with --out."
        )
    check_out(out)


def _table_of(records: list[AuditRecord]) -> pa.Table:
    return to_table(AuditRecord, records)


def _look_at(dataset: Dataset, console: Console) -> SeenFiles:
    columns = (TextColumn("opening videos"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(dataset.videos))
        return look_at(dataset.paths(), lambda: progress.advance(task))
