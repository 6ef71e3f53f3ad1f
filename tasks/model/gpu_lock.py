"""One model process per GPU of a node: a process that finds a GPU in use waits for it.

Two models on one GPU rarely fit its memory, and the second would fail hours into a run. The kernel
releases a lock when its holder and the model process, which inherits it, have ended, however they
ended. Containers that have their own `/run/lock` do not see one another's locks.
"""

import contextlib
import fcntl
import os
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from storage.errors import StoreError
from tasks.log import LOGGER
from tasks.model.gpu import has_gpu_driver
from tasks.processes.group import ALL_CHILDREN

_FOLDERS = (Path("/run/lock"), Path("/tmp"))  # the node's, not this user's or job's
_POLL_SECONDS = 0.5
_EVERYONE = 0o666


@contextlib.contextmanager
def hold_gpus(names: Sequence[str], work: str, folder: Path | None = None) -> Iterator[list[int]]:
    """Hold the locks of GPUs for the block; wait, and log for whom, while others hold them.

    ``names`` are as of `names_of_gpus`; without any, nothing is locked. Yields file descriptors to
    pass to the model process. All processes lock in the same order, so no two wait for each other.

    Raises:
        StageError: the run was stopped while it waited.
        StoreError: no lock can be created on this node.
    """
    descriptors: list[int] = []
    try:
        for name in sorted(set(names)):
            descriptor = _open((folder or _lock_folder()) / f"waver-gpu-{name}.lock")
            descriptors.append(descriptor)
            _lock(descriptor, name, work)
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def names_of_gpus(count: int | None = None) -> list[str]:
    """Name the first ``count`` GPUs that are visible to this process, or all; empty without any.

    A name is the device's UUID, so that processes agree on it whatever they see.
    """
    if not has_gpu_driver():
        return []
    visible = visible_names(_list_devices(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return visible[:count]


def visible_names(devices: Sequence[str], visible: str | None) -> list[str]:
    """Apply a value of ``CUDA_VISIBLE_DEVICES`` to the UUIDs of a node's GPUs, as CUDA does.

    It lists indices or UUIDs, which may be abbreviated; nothing after an invalid entry counts
    (CUDA C++ Programming Guide, environment variables). Parts of a GPU (MIG) keep their own names.
    """
    if visible is None:
        return list(devices)
    names = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.startswith("MIG-"):
            names.append(entry.replace("/", "_"))
            continue
        if entry.isdecimal():
            found = devices[int(entry) : int(entry) + 1]
        else:
            found = [device for device in devices if entry and device.startswith(entry)]
        if len(found) != 1:
            break
        names += found
    return names


def _list_devices() -> list[str]:
    """List the UUIDs of the GPUs that this container or node has, in the order of their buses."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        devices = Path("/proc/driver/nvidia/gpus")
        return [str(index) for index, _ in enumerate(devices.iterdir())] if devices.is_dir() else []
    return [line.strip() for line in output.stdout.splitlines() if line.strip()]


def _lock_folder() -> Path:
    """Return the first folder in which every user of the node may write."""
    for folder in _FOLDERS:
        with contextlib.suppress(OSError):
            if folder.stat().st_mode & stat.S_IWOTH:
                return folder
    return _FOLDERS[-1]


def _open(path: Path) -> int:
    """Open a lock's file, which any user may have created, to read and write who holds it."""
    for _ in range(2):
        try:
            try:
                return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(path, flags, _EVERYONE)
                os.fchmod(descriptor, _EVERYONE)  # the umask may have taken something away
                return descriptor
        except FileExistsError:  # another process has just created it
            continue
        except OSError as error:
            raise StoreError(
                f"The lock of a GPU cannot be opened at {str(path)!r} ({error.strerror}): remove "
                "that file."
            ) from error
    raise StoreError(f"The lock of a GPU at {str(path)!r} is removed again and again.")


def _lock(descriptor: int, name: str, work: str) -> None:
    logged = ""
    while True:
        ALL_CHILDREN.check()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        if holder != logged:
            logged = holder
            LOGGER.info(
                "%s: waiting for GPU %s, on which %s", work, name, holder or "another run works"
            )
        time.sleep(_POLL_SECONDS)
    os.ftruncate(descriptor, 0)
    since = time.strftime("%H:%M")
    os.pwrite(descriptor, f"process {os.getpid()} ({work}) works since {since}".encode(), 0)
