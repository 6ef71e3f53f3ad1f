"""The audit of a data set before any work on it: what it holds, and what is wrong with it."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from flows.commands.exit_status import ExitStatus
from storage.datasets.bah.annotation_cache import AnnotationCache
from storage.datasets.dataset import Dataset
from storage.datasets.erased import exclude_erased, read_erased
from storage.datasets.open import check_apart, read_dataset
from storage.errors import ConfigError
from storage.records import VideoId
from storage.results import AuditRecord
from storage.schema import schema_of, to_table
from storage.store.store import Store, local_root
from tasks.audit.counts import count_videos
from tasks.audit.files import FileFacts, look_at
from tasks.audit.findings import (
    Finding,
    alike_participants,
    beyond_the_end,
    divided_participants,
    empty_splits,
    reencoded,
    reported_by_reader,
    same_files,
    summarise,
    unopened,
)
from tasks.audit.reencoded import ComparedHashes, compare_hashes
from tasks.audit.table import audit_table
from tasks.export.files import check_out, write_export

Looked = TypeVar("Looked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What looking at a data set's files showed; ``hash_command`` makes missing prints."""

    files: FileFacts
    hashes: ComparedHashes
    hash_command: str


def check_and_show(data: str, store: str, out: Path | None) -> ExitStatus:
    """Audit a data set, show the outcome and write it; a store that is there keeps the annotation.

    Returns the exit status: 0, or 1 where something makes results untrustworthy.

    Raises:
        ConfigError: `out` is no file that ends in .parquet, or the store lies among the videos.
        DataError: the data folder is missing or cannot be read.
        ToolError: ffprobe is not installed.
    """
    _check_out(out)
    check_apart(data, store)
    console = Console()
    known = _store_if_there(store)
    dataset = read_dataset(data, None if known is None else AnnotationCache(store))
    if known is not None:
        dataset, _ = exclude_erased(dataset, read_erased(known))
    seen = Seen(
        files=_shown(look_at, "opening videos", dataset, console),
        hashes=_shown(partial(compare_hashes, known), "comparing videos", dataset, console),
        hash_command=shlex.join(
            ("waver", "run", "--data", data, "--store", store, "--only", "segment")
        ),
    )
    records = list(audit(dataset, seen))
    console.print(audit_table(dataset.root.resolve().name, records), crop=False)
    if out is not None:
        write_export(out, schema_of(AuditRecord), [_table_of(records)], {"kind": "audit"})
        console.print(f"Audit: {out}", soft_wrap=True, highlight=False)
    return ExitStatus.FAILED if any(record.invalidates for record in records) else ExitStatus.DONE


def audit(dataset: Dataset, seen: Seen) -> Iterator[AuditRecord]:
    """Give everything that there is to say of a data set whose files were looked at."""
    yield from count_videos(dataset.videos, seen.files.durations)
    yield from summarise(_find(dataset, seen))
    num_unhashed = len(seen.hashes.unhashed - seen.files.faults.keys())
    if num_unhashed:
        yield AuditRecord(
            subject="not looked at",
            split=None,
            name="reencoded",
            value=num_unhashed,
            invalidates=False,
            meaning=f"whether {num_unhashed} of {len(dataset.videos)} videos are others encoded "
            f"again; the store has no prints of them: `{seen.hash_command}` makes them",
            examples=(),
        )


def _find(dataset: Dataset, seen: Seen) -> Iterator[Finding]:
    yield from reported_by_reader(dataset)
    yield from divided_participants(dataset.videos)
    yield from alike_participants(dataset.videos)
    yield from empty_splits(dataset.videos)
    yield from unopened(seen.files.faults)
    yield from beyond_the_end(dataset.videos, seen.files.durations)
    yield from same_files(dataset.videos, seen.files.digests)
    yield from reencoded(dataset.videos, seen.hashes.groups)


def _store_if_there(url: str) -> Store | None:
    """Open the store; a check makes none."""
    root = local_root(url)
    return None if root is not None and not root.is_dir() else Store(url)


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


def _shown(
    look: Callable[[Mapping[VideoId, Path], Callable[[], None]], Looked],
    message: str,
    dataset: Dataset,
    console: Console,
) -> Looked:
    """Look at every video while a bar shows how many are done."""
    columns = (TextColumn(message), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(dataset.videos))
        return look(dataset.paths(), lambda: progress.advance(task))
