"""Cached merges of adapters and their bases, computed on first use.

They are cached in a local store, or in the user's cache for a remote one.
"""

import shutil
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from storage.errors import CrashError
from storage.fingerprint import digest_file, digest_of
from storage.store.atomic import atomic_folder, remove_abandoned
from storage.store.cache import cache_path_of
from storage.store.disk import writing_to
from storage.store.store import Store
from tasks.log import LOGGER
from tasks.model.model_folder import adapter_files, check_model
from tasks.processes.child_process import run_child
from tasks.processes.error_file import log_path_of
from tasks.prompting.trained_with import SETTINGS_NAME


class MergeJob(BaseModel):
    """The input of the merging process; ``out_path`` contains nothing but this job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_path: Path
    adapter_path: Path
    out_path: Path
    precision: str
    max_shard_bytes: int


def merge_once(
    store: Store,
    adapter_path: Path,
    *,
    base: str,
    base_fingerprint: str,
    precision: str,
    max_shard_bytes: int,
    reason: str,
) -> Path:
    """Return the folder of the merged model, and merge only if it is not cached.

    The ``reason`` for merging instead of serving is logged each time.

    Raises:
        ModelError: the base is unavailable, the adapter does not fit it or changes no prediction.
    """
    content = [digest_file(path) for path in adapter_files(adapter_path) if path.is_file()]
    name = digest_of(base_fingerprint, content, precision, max_shard_bytes)
    folder = cache_path_of(store) / "merged" / name
    when = "cached" if folder.is_dir() else "now, once"
    LOGGER.info(
        "infer: the adapter %r is merged with its base (%s): %s", str(adapter_path), when, reason
    )
    if not folder.is_dir():
        store.check_writable()
        base_path = check_model(base)
        with writing_to(str(folder)):
            remove_abandoned(folder.parent)
            with atomic_folder(folder, keep_existing=True) as out_path:
                job = MergeJob(
                    base_path=base_path,
                    adapter_path=adapter_path,
                    out_path=out_path,
                    precision=precision,
                    max_shard_bytes=max_shard_bytes,
                )
                _merge(job, folder)
    return folder


def _merge(job: MergeJob, folder: Path) -> None:
    """Merge in a child process; its log is kept beside ``folder`` if it crashes."""
    job_path = job.out_path / "job.json"
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    log_path, kept_log_path = log_path_of(job_path), folder.with_suffix(".log")
    command = [sys.executable, "-m", "tasks.adapters.merge", str(job_path)]
    try:
        run_child(
            command, on_line=LOGGER.info, job_path=job_path, environment={"PYTHONSAFEPATH": "1"}
        )
    except CrashError as error:
        if not log_path.is_file():
            raise
        log_path.replace(kept_log_path)
        raise CrashError(f"{error} The libraries' log: {kept_log_path}") from error
    for path in (job_path, log_path, kept_log_path):
        path.unlink(missing_ok=True)
    settings_path = job.adapter_path.parent / SETTINGS_NAME
    if settings_path.is_file():
        shutil.copyfile(settings_path, job.out_path / SETTINGS_NAME)
