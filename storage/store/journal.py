"""The journal of a store: one small JSON file for each run of a stage that computed something.

    <store>/runs/<start in UTC>-<stage>-<random digits>.json

Rates of work, such as seconds for an hour of video, are read from it. Records name no video,
participant or host, so erasing a participant leaves them. A record appears whole or not at all; a
damaged one is skipped.
"""

import logging
import re
import socket
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from storage.fingerprint import digest_of
from storage.store.store import Store

FOLDER = "runs"
_LOGGER = logging.getLogger("waver")
_NAME = re.compile(r"\d{8}T\d{6}\d{3}Z-([a-z]+)-[0-9a-f]{8}\.json")

_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One run of a stage that computed something.

    Attributes:
        started_at: Seconds since 1970, UTC.
        seconds: Wall time of the whole stage, including what was cached.
        cpu_seconds: User and system time of this process and its children; ``None`` if nodes
            elsewhere computed.
        num_computed: Items computed, of which ``num_rejected`` were rejected.
        num_segments: Segments that were written, transcribed, trained on or predicted.
        video_ms: Milliseconds of video in the items computed.
        bytes_written: Size of their files and tables.
        num_cpus: Cores that this process may use.
        num_gpus: GPUs that the stage could use; 0 for stages that use none.
        host: Digest of the host's name.
        failed: Whether the stage ended with an error; the items were computed before it.
    """

    stage: str
    variant_id: str
    started_at: _Seconds
    seconds: _Seconds
    cpu_seconds: _Seconds | None
    num_expected: _Count
    num_cached: _Count
    num_computed: _Count
    num_rejected: _Count
    num_segments: _Count
    video_ms: _Count
    bytes_written: _Count
    num_cpus: _Count
    num_gpus: _Count
    host: str
    failed: bool = False


_ADAPTER = TypeAdapter(StageRun)


def host_digest() -> str:
    """Return eight digits that identify this host without naming it."""
    return digest_of(socket.gethostname())[:8]


def write_run(store: Store, run: StageRun) -> None:
    """Add a record to the journal.

    Raises:
        StoreError: the store cannot be written.
    """
    seconds, milliseconds = divmod(round(run.started_at * 1000), 1000)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    name = f"{stamp}{milliseconds:03d}Z-{run.stage}-{uuid.uuid4().hex[:8]}.json"
    store.write_bytes(f"{FOLDER}/{name}", _ADAPTER.dump_json(run, indent=2))


def read_runs(store: Store, *, per_stage: int | None = None) -> list[StageRun]:
    """Read the journal, the newest run first; of each stage at most ``per_stage`` runs.

    Damaged records are skipped with one warning.
    """
    runs: list[StageRun] = []
    counts: Counter[str] = Counter()
    num_damaged = 0
    for path in reversed(run_paths(store)):
        stage = stage_of(path)
        if per_stage is not None and counts[stage] >= per_stage:
            continue
        run = _read(store, path)
        if run is None:
            num_damaged += 1
            continue
        counts[stage] += 1
        runs.append(run)
    if num_damaged:
        _LOGGER.warning(
            "%d damaged records of the journal in %r are skipped: `waver gc --delete` removes them",
            num_damaged, store.location(FOLDER),
        )  # fmt: skip
    return runs


def run_paths(store: Store) -> list[str]:
    """List the records' files, the oldest first; other files in the folder are left out."""
    return [path for path in store.list_files(FOLDER) if _NAME.fullmatch(PurePosixPath(path).name)]


def stage_of(path: str) -> str:
    """Return the stage in a record's file name."""
    name = _NAME.fullmatch(PurePosixPath(path).name)
    return name[1] if name else ""


def surplus_paths(store: Store, *, per_stage: int) -> list[str]:
    """List damaged records, and those beyond the newest ``per_stage`` of each stage."""
    kept: Counter[str] = Counter()
    surplus = []
    for path in reversed(run_paths(store)):
        run = _read(store, path) if kept[stage_of(path)] < per_stage else None
        if run is None:
            surplus.append(path)
        else:
            kept[run.stage] += 1
    return sorted(surplus)


def _read(store: Store, path: str) -> StageRun | None:
    """Read one record; ``None`` if it is damaged or was removed meanwhile."""
    try:
        with store.open(path) as stream:
            run = _ADAPTER.validate_json(stream.read())
        return run if run.stage == stage_of(path) else None
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None
