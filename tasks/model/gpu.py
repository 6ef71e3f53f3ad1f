"""GPU detection: whether this process has GPUs, how many, and their memory."""

from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/version")


def has_gpu_driver() -> bool:
    """Return whether an NVIDIA driver is loaded, without importing torch."""
    return _DRIVER.exists()


def has_gpu() -> bool:
    """Return whether torch can use a CUDA device in this process."""
    import torch

    return torch.cuda.is_available()


def has_accelerator() -> bool:
    """Return whether torch has a device of any kind besides the CPU."""
    import torch

    return torch.accelerator.is_available()


def count_gpus() -> int:
    """Count the CUDA devices visible to this process (``CUDA_VISIBLE_DEVICES``)."""
    import torch

    return torch.cuda.device_count()


def gpu_memory(index: int) -> tuple[int, int]:
    """Return the free and total bytes of one CUDA device."""
    import torch

    return torch.cuda.mem_get_info(index)
