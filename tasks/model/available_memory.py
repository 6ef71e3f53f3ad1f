"""How much memory a training process may still take: of its device, and of the host."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from storage.errors import StageError

_CGROUP = Path("/sys/fs/cgroup")


def host_bytes() -> int:
    """Give what the host has free."""
    return min(_host_bytes())


def free_bytes(device: torch.device, num_processes: int) -> int:
    """Give what one process may still take of its device, or of the host it shares."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return host_bytes() // num_processes


def check_host(folder: Path, *, free: int) -> None:
    """Refuse to read a base whole where the host cannot hold it, if but in one process.

    Raises:
        StageError: says what is needed, and what there is.
    """
    needed = _weight_bytes(folder)
    if needed > free:
        raise StageError(
            f"One process reads the base for all: this takes {needed / 2**30:.1f} GiB of the "
            f"host's memory, but {max(0, free) / 2**30:.1f} GiB are free: use a machine with more, "
            "or end what else runs on it."
        )


def check_disk(model: Path, folder: Path, *, free: int | None = None) -> None:
    """Refuse to train what could not be kept: a whole model takes about what its base takes.

    Raises:
        StageError: says what is needed, and what there is.
    """
    needed = _weight_bytes(model)
    free = shutil.disk_usage(folder).free if free is None else free
    if needed > free:
        raise StageError(
            f"The finished model takes about {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB "
            "are free where the results lie: make room, or keep a LoRA adapter alone with "
            "finetune.merge = false."
        )


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _host_bytes() -> Iterator[int]:
    """Give what is free by the kernel's word, and by the container's limit, if it has one."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        yield next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    if limit.isdigit():
        yield max(0, int(limit) - used)
