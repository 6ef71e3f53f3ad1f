"""Whether an engine fits into the memory that is free, estimated before it is opened."""

from pathlib import Path

from storage.errors import ModelError
from tasks.inference.engine_settings import EngineResources
from tasks.model.available_memory import host_bytes
from tasks.model.gpu import count_gpus, gpu_memory
from tasks.model.weights import weight_bytes

_WORKING_BYTES = 2 << 30  # what the libraries and one step's activations take beside weights
_GIB = 1 << 30


def free_engine_bytes(resources: EngineResources, *, on_gpu: bool) -> int:
    """Give what an engine may take: its share of its GPUs' free memory, or of the host's."""
    if not on_gpu:
        return host_bytes()
    per_gpu = [gpu_memory(index) for index in range(min(resources.num_gpus, count_gpus()))]
    return sum(int(min(free, total * resources.gpu_memory_utilization)) for free, total in per_gpu)


def required_bytes(
    model_path: Path, dtype: str, resources: EngineResources, *, on_gpu: bool
) -> int:
    """Estimate what an engine takes: weights in their number type, the cache, what works on them.

    The weights' files hold the parts that are not loaded too (speech), so the estimate is high.
    """
    cache = 0 if on_gpu else resources.cpu_cache_gib * _GIB
    return weight_bytes(model_path, dtype) + cache + _WORKING_BYTES


def check_engine_memory(
    model_path: Path, dtype: str, resources: EngineResources, *, on_gpu: bool
) -> None:
    """Refuse an engine that cannot fit.

    Raises:
        ModelError: says what is needed, what there is, and what would help.
    """
    needed = required_bytes(model_path, dtype, resources, on_gpu=on_gpu)
    free = free_engine_bytes(resources, on_gpu=on_gpu)
    if needed > free:
        location = f"{resources.num_gpus} GPU(s) have" if on_gpu else "the host has"
        raise ModelError(
            f"The model {str(model_path)!r} needs about {needed / _GIB:.1f} GiB in {dtype}, but "
            f"{location} {free / _GIB:.1f} GiB for it: {_ways_out(dtype, resources, on_gpu=on_gpu)}."
        )


def _ways_out(dtype: str, resources: EngineResources, *, on_gpu: bool) -> str:
    ways = []
    if on_gpu:
        ways.append("give it more GPUs (resources.infer.num_gpus)")
    elif resources.cpu_cache_gib > 1:
        ways.append("give its cache less (resources.infer.cpu_cache_gib)")
    if dtype == "float32":
        ways.append("compute in bfloat16 (infer.dtype)")
    if not on_gpu:
        ways.append("end other programs, or use a machine with more")
    return ", or ".join(ways)
