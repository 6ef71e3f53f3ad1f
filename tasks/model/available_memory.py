"""Free memory of a device, the host and the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import StageError

if TYPE_CHECKING:
    import torch

_CGROUP = Path("/sys/fs/cgroup")


def host_bytes() -> int:
    """Return the host's free bytes, within the container's limit."""
    return min(_host_bytes())


def free_bytes(device: torch.device, num_processes: int) -> int:
    """Return the bytes that one of several processes may allocate, on its device or the host."""
    if device.type == "cuda":
        import torch  # slow to import: the pipeline's process imports this module, but no torch

        return int(torch.cuda.mem_get_info(device)[0])
    return host_bytes() // num_processes


def check_host(folder: Path, *, free: int) -> None:
    """Raise StageError if one process cannot load the whole base into host memory."""
    needed = _weight_bytes(folder)
    if needed > free:
        raise StageError(
            f"One process loads the base for all, which needs {needed / 2**30:.1f} GiB of host "
            f"memory, but {max(0, free) / 2**30:.1f} GiB are free: use a host with more, or close "
            "other programs."
        )


def check_disk(model: Path, folder: Path, *, free: int | None = None) -> None:
    """Raise StageError if the disk cannot hold the trained model, about as large as its base."""
    needed = _weight_bytes(model)
    free = shutil.disk_usage(folder).free if free is None else free
    if needed > free:
        raise StageError(
            f"The trained model needs about {needed / 2**30:.1f} GiB, but the results' disk has "
            f"{free / 2**30:.1f} GiB free: free some space, or store a LoRA adapter alone with "
            "finetune.merge = false."
        )


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _host_bytes() -> Iterator[int]:
    """Yield the free bytes by the kernel and, if there is one, by the container's limit."""
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
