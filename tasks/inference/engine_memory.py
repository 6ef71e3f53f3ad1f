"""Estimate of an engine's memory, checked before it is opened."""

from pathlib import Path

from storage.errors import ModelError
from tasks.inference.engine_settings import EngineResources
from tasks.model.available_memory import host_bytes
from tasks.model.gpu import count_gpus, gpu_memory
from tasks.model.weights import weight_bytes

_WORKING_BYTES = 2 << 30  # libraries, and the activations of one step
_GIB = 1 << 30


def free_engine_bytes(resources: EngineResources, *, on_gpu: bool) -> int:
    """Return the bytes that an engine may allocate on its GPUs, or on the host without any."""
    if not on_gpu:
        return host_bytes()
    per_gpu = [gpu_memory(index) for index in range(min(resources.num_gpus, count_gpus()))]
    return sum(int(min(free, total * resources.gpu_memory_utilization)) for free, total in per_gpu)


def required_bytes(
    model_path: Path, dtype: str, resources: EngineResources, *, on_gpu: bool
) -> int:
    """Estimate the bytes of an engine: weights in ``dtype``, KV cache and activations.

    An overestimate, since the weight files include parts that are not loaded (speech output).
    """
    cache = 0 if on_gpu else resources.cpu_cache_gib * _GIB
    return weight_bytes(model_path, dtype) + cache + _WORKING_BYTES


def check_engine_memory(
    model_path: Path, dtype: str, resources: EngineResources, *, on_gpu: bool
) -> None:
    """Raise ModelError if an engine does not fit into free memory."""
    needed = required_bytes(model_path, dtype, resources, on_gpu=on_gpu)
    free = free_engine_bytes(resources, on_gpu=on_gpu)
    if needed > free:
        available = f"{resources.num_gpus} GPU(s) have" if on_gpu else "the host has"
        advice = _advice(dtype, resources, on_gpu=on_gpu)
        raise ModelError(
            f"The model {str(model_path)!r} needs about {needed / _GIB:.1f} GiB in {dtype}, but "
            f"{available} {free / _GIB:.1f} GiB free: {advice}."
        )


def _advice(dtype: str, resources: EngineResources, *, on_gpu: bool) -> str:
    advice = []
    if on_gpu:
        advice.append("use more GPUs (resources.infer.num_gpus)")
    elif resources.cpu_cache_gib > 1:
        advice.append("shrink the KV cache (resources.infer.cpu_cache_gib)")
    if dtype == "float32":
        advice.append("compute in bfloat16 (infer.dtype)")
    if not on_gpu:
        advice.append("close other programs, or use a host with more memory")
    return ", or ".join(advice)
