"""A full disk and a read-only one: a small file system of its own is mounted under the store."""

import random
import subprocess
import time
import uuid
from pathlib import Path

from flows.context.stage_names import StageName
from infra.benchmarks.chaos.processes import end_marked, find_marked, wait_until
from infra.benchmarks.chaos.sandbox import RUN_SECONDS, Outcome, Sandbox, count_items, marked
from infra.benchmarks.chaos.trial import Trial, check_results

_ROOT = Path(__file__).parents[3]
_BLOCK = 4096
_ENOUGH = "512m"
_OWN_MOUNTS = ("unshare", "-rm", "sh", "-euc")
# $1 is an option of the first mount, $2 of the second, $3 the prepared store, $4 the store, $5 a
# folder for the outputs; the run's command follows.
_SCRIPT = """
first=$1 second=$2 prepared=$3 store=$4 out=$5; shift 5
mkdir -p "$store"
mount -t tmpfs -o size=512m tmpfs "$store"
cp -a "$prepared/." "$store/"
mount -o "remount,$first" "$store"
status=0; "$@" > "$out/first" 2>&1 < /dev/null || status=$?
mount -o "remount,$second" "$store"
echo $status > "$out/status"
"$@" > "$out/second" 2>&1 < /dev/null
cp -a "$store/." "$prepared.after"
"""


def run_on_full_disk(
    sandbox: Sandbox, undisturbed: Outcome, stage: StageName, folder: Path, dice: random.Random
) -> Trial:
    """Run with too little space for the rest of the results, and again with enough."""
    prepared = folder / "prepared"
    sandbox.copy_without(stage, prepared)
    needed = _size(sandbox.finished / stage)
    limit = _size(prepared) + int(dice.uniform(0.1, 0.7) * needed)
    trial = Trial(victim="disk", signal="full", stage=stage)
    mounts = (f"size={limit}", f"size={_ENOUGH}")
    return _run(sandbox, undisturbed, folder, trial, mounts, "No space left")


def run_on_read_only_disk(
    sandbox: Sandbox, undisturbed: Outcome, stage: StageName, folder: Path
) -> Trial:
    """Run in a store that cannot be written, and again when it can."""
    sandbox.copy_without(stage, folder / "prepared")
    trial = Trial(victim="disk", signal="read-only", stage=stage)
    return _run(sandbox, undisturbed, folder, trial, ("ro", "rw"), "Cannot write to")


def _run(
    sandbox: Sandbox,
    undisturbed: Outcome,
    folder: Path,
    trial: Trial,
    mounts: tuple[str, str],
    message: str,
) -> Trial:
    started, mark = time.monotonic(), uuid.uuid4().hex
    store, prepared, after = folder / "store", folder / "prepared", folder / "prepared.after"
    after.mkdir()
    before = count_items(prepared)
    command = [*_OWN_MOUNTS, _SCRIPT, "sh", *mounts, str(prepared), str(store), str(folder)]
    try:
        ended = subprocess.run(
            [*command, *sandbox.arguments(store)], cwd=_ROOT, check=False, capture_output=True,
            env=marked(sandbox.environment, mark), text=True, timeout=2 * RUN_SECONDS,
        )  # fmt: skip
        if not wait_until(lambda: not find_marked(mark), 30):
            trial.problems.append("processes are left")
    finally:
        end_marked(mark)
    trial.num_reruns = 1
    first = _read(folder / "first")
    if _read(folder / "status").strip() in ("", "0"):
        trial.problems.append(f"the first run did not fail: {ended.stderr[-300:]!r}")
    elif message not in first or "Traceback" in first:
        trial.problems.append(f"the first run did not end with one sentence: {first[-400:]!r}")
    if ended.returncode:
        trial.problems.append(f"the second run failed: {_read(folder / 'second')[-400:]!r}")
    trial.num_computed_after = sum(count_items(after).values()) - sum(before.values())
    after.rename(store / "after")  # under the path that its results were computed for
    check_results(sandbox, undisturbed, store / "after", trial)
    trial.seconds = time.monotonic() - started
    return trial


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _size(folder: Path) -> int:
    """Return the bytes that a folder takes on a tmpfs."""
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(-(-size // _BLOCK) * _BLOCK for size in sizes)
