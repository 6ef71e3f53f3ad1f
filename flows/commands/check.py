"""Audit of a data set before a run: its contents and its problems."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from flows.commands.exit_status import ExitStatus
from storage.datasets.bah.annotation_cache import AnnotationCache
from storage.datasets.dataset import Dataset
from storage.datasets.erased import exclude_erased, read_erased
from storage.datasets.open import check_apart, read_dataset
from storage.records import VideoId, VideoRecord
from storage.results import AuditRecord
from storage.schema import schema_of, to_table
from storage.store.file_index import Verification
from storage.store.store import Store
from storage.store.url import is_missing
from tasks.audit.counts import count_videos
from tasks.audit.files import FileFacts, probe_files
from tasks.audit.findings import (
    Finding,
    failed_checks,
    identical_files,
    media_problems,
    misplaced_intervals,
    participants_in_two_splits,
    participants_spelled_twice,
    reader_issues,
    reencoded_copies,
    summarize,
    unreadable_files,
    unusable_splits,
)
from tasks.audit.reencoded import DecodedVideos, compare_hashes
from tasks.audit.table import audit_table
from tasks.export.files import write_export
from tasks.export.output_path import check_output_file
from tasks.labels.annotation import with_located_label
from tasks.labels.duplicates.accepted import NONE_ACCEPTED, AcceptedPairs, read_accepted

Result = TypeVar("Result")
# What only the segment stage finds out, as it decodes videos.
_OF_DECODED_VIDEOS = {
    "reencoded": "re-encoded copies of others",
    "input_quality": "black, frozen, silent or clipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChecks:
    """What is known about a data set's files.

    ``decode_command`` is the command that decodes the videos of which the store holds nothing.
    """

    facts: FileFacts
    decoded: DecodedVideos
    decode_command: str


def check_and_show(
    data: str,
    store: str,
    out: Path | None,
    accept_duplicates: Path | None = None,
    *,
    verify: bool = False,
) -> ExitStatus:
    """Audit a data set, print the audit, and write it to ``out``.

    An existing store caches the parsed annotation and facts about unchanged files, unless they are
    to be verified; none is created. Returns FAILED if a problem makes results untrustworthy.

    Raises:
        ConfigError: ``out`` does not end in .parquet, the store is inside the data folder, or the
            file of accepted duplicates is malformed.
        DataError: the data folder is missing or cannot be read.
        ToolError: ffprobe is not installed.
    """
    if out is not None:
        check_output_file(out, (".parquet",))
    check_apart(data, store)
    console = Console()
    existing = _existing_store(store, verify=verify)
    dataset = read_dataset(data, None if existing is None else AnnotationCache(store))
    if existing is not None:
        dataset, _ = exclude_erased(dataset, read_erased(existing))
    accepted = _accepted_in(accept_duplicates, dataset)
    decode_command = ("waver", "run", "--data", data, "--store", store, "--only", "segment")
    checks = _check_files(dataset, existing, accepted, shlex.join(decode_command), console)
    if existing is not None:
        existing.save_indexes()
    records = list(audit(dataset, checks))
    console.print(audit_table(dataset.root.resolve().name, records), crop=False)
    if out is not None:
        rows = to_table(AuditRecord, records)
        write_export(out, schema_of(AuditRecord), [rows], {"kind": "audit"})
        console.print(f"Audit: {out}", soft_wrap=True, highlight=False)
    return ExitStatus.FAILED if any(record.invalidates for record in records) else ExitStatus.DONE


def _accepted_in(path: Path | None, dataset: Dataset) -> AcceptedPairs:
    if path is None:
        return NONE_ACCEPTED
    return read_accepted(path, {video.video_id for video in dataset.videos})


def _check_files(
    dataset: Dataset,
    store: Store | None,
    accepted: AcceptedPairs,
    decode_command: str,
    console: Console,
) -> FileChecks:
    """Open every video, and compare those that the store holds decoded."""
    compare = partial(compare_hashes, store, accepted=accepted)
    return FileChecks(
        facts=_with_progress(partial(probe_files, store=store), "opening videos", dataset, console),
        decoded=_with_progress(compare, "comparing videos", dataset, console),
        decode_command=decode_command,
    )


def audit(dataset: Dataset, checks: FileChecks) -> Iterator[AuditRecord]:
    """Yield all counts and findings about a data set, and what could not be checked."""
    yield from count_videos(_located(dataset, checks), checks.facts.durations)
    yield from summarize(_find(dataset, checks))
    unusable = checks.facts.faults.keys() | checks.facts.errors.keys()
    num_undecoded = len(checks.decoded.unhashed - unusable)
    for name, question in _OF_DECODED_VIDEOS.items() if num_undecoded else ():
        yield AuditRecord(
            subject="not examined",
            split=None,
            name=name,
            value=num_undecoded,
            invalidates=False,
            meaning=f"whether {num_undecoded} of {len(dataset.videos)} videos are {question}; the "
            f"store does not hold them decoded yet: run `{checks.decode_command}` first",
            examples=(),
        )


def _find(dataset: Dataset, checks: FileChecks) -> Iterator[Finding]:
    yield from reader_issues(dataset)
    yield from participants_in_two_splits(dataset.videos)
    yield from participants_spelled_twice(dataset.videos)
    yield from unusable_splits(_located(dataset, checks))
    yield from unreadable_files(checks.facts.faults)
    yield from failed_checks(checks.facts.errors)
    yield from misplaced_intervals(dataset.videos, checks.facts.durations)
    yield from identical_files(dataset.videos, checks.facts.digests)
    yield from reencoded_copies(dataset.videos, checks.decoded.groups)
    yield from media_problems(checks.decoded.facts)


def _located(dataset: Dataset, checks: FileChecks) -> tuple[VideoRecord, ...]:
    """Return the videos with the labels that a manifest will have."""
    durations = checks.facts.durations
    return tuple(
        with_located_label(video, durations[video.video_id])
        if video.video_id in durations
        else video
        for video in dataset.videos
    )


def _existing_store(url: str, *, verify: bool) -> Store | None:
    """Open the store if it exists; a check creates none."""
    return None if is_missing(url) else Store(url, Verification(everything=verify))


def _with_progress(
    check_files: Callable[[Mapping[VideoId, Path], Callable[[], None]], Result],
    description: str,
    dataset: Dataset,
    console: Console,
) -> Result:
    """Check every video's file while a bar shows how many are done."""
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(dataset.videos))
        return check_files(dataset.paths(), lambda: progress.advance(task))
