"""vLLM's engine arguments, from the settings, the longest request and the device."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.adapters.vllm_lora import lora_options
from tasks.model.gpu import has_gpu

_MAX_STEP_TOKENS_GPU, _MAX_STEP_TOKENS_CPU = 16_384, 4_096
_LONGEST_REQUESTS_PER_STEP = 8
_MIN_REQUESTS, _MAX_REQUESTS = 8, 256


class EngineResources(BaseModel):
    """How the engine uses the hardware; not part of a result's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_requests: int | None = Field(default=None, ge=1, le=4096)
    """Segments in one batch of the engine; by default twice the longest segments that fit."""
    max_batched_tokens: int | None = Field(default=None, ge=256)
    """Tokens in one engine step, over all segments; by default those of eight longest segments, up
    to a limit of the device."""
    num_gpus: int = Field(default=1, ge=1, le=64)
    """GPUs per engine (tensor parallelism)."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, lt=1)
    """Fraction of each GPU's memory that the engine may use."""
    cpu_cache_gib: int = Field(default=1, ge=1)
    """Size of the KV cache without a GPU."""
    cpu_threads: int | None = Field(default=None, ge=1)
    """Threads of the engine without a GPU; by default its cores less `num_decoders`."""


def set_environment(resources: EngineResources) -> bool:
    """Set the environment variables that vLLM reads on import; return whether a GPU is available.

    Without a GPU the engine runs in this process: a separate one would take half a minute and a
    gigabyte more.
    """
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",  # the model is a local folder by now
        "TOKENIZERS_PARALLELISM": "false",
    }
    on_gpu = has_gpu()
    if not on_gpu:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(resources.cpu_cache_gib)
        os.environ["TORCH_COMPILE_DISABLE"] = "1"  # compiling needs a C++ compiler at run time
        if resources.cpu_threads:
            import torch

            torch.set_num_threads(resources.cpu_threads)
    return on_gpu


def batch_sizes(max_tokens: int, resources: EngineResources, *, on_gpu: bool) -> tuple[int, int]:
    """Choose the maximum tokens and requests of one step, for requests of at most ``max_tokens``.

    ``max_tokens`` is an upper bound (`longest_request`): twice as many requests usually fit.
    """
    limit = _MAX_STEP_TOKENS_GPU if on_gpu else _MAX_STEP_TOKENS_CPU
    tokens = resources.max_batched_tokens or min(_LONGEST_REQUESTS_PER_STEP * max_tokens, limit)
    tokens = max(tokens, max_tokens + 1)
    requests = max(_MIN_REQUESTS, 2 * tokens // max_tokens)
    return tokens, resources.max_requests or min(requests, _MAX_REQUESTS)


def engine_options(
    model_path: Path, dtype: str, max_tokens: int, resources: EngineResources, on_gpu: bool
) -> dict[str, Any]:
    """Return vLLM's engine arguments (docs.vllm.ai, Engine Arguments)."""
    max_batched_tokens, max_requests = batch_sizes(max_tokens, resources, on_gpu=on_gpu)
    return {
        "model": str(model_path),
        "load_format": "safetensors",
        "trust_remote_code": False,
        "generation_config": "vllm",
        "seed": 0,
        "dtype": dtype,
        "max_model_len": max_tokens + 1,
        "max_num_seqs": max_requests,
        "max_num_batched_tokens": max_batched_tokens,
        "tensor_parallel_size": resources.num_gpus,
        "gpu_memory_utilization": resources.gpu_memory_utilization,
        "enforce_eager": True,  # requests are all prefill: no CUDA graph to replay
        "enable_prefix_caching": True,  # all requests start with the instruction
        "block_size": 16 if on_gpu else 32,  # only whole blocks are cached
        "logprobs_mode": "raw_logprobs",
        "limit_mm_per_prompt": {"image": 0, "video": 1, "audio": 1},
        "mm_processor_cache_gb": 0,  # no segment is repeated
        "skip_mm_profiling": not on_gpu,  # profiling sizes a GPU's memory for media
        **lora_options(model_path),
    }
