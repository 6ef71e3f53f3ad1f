"""How vLLM is opened: what a profile states, the rest by the longest request and the device."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.adapters.vllm_lora import lora_options
from tasks.model.gpu import has_gpu

_GPU_STEP_TOKENS, _CPU_STEP_TOKENS = 16_384, 4_096
_LONGEST_IN_A_STEP = 8
_LEAST_REQUESTS = 8


class EngineResources(BaseModel):
    """How the inference engine uses the machine; no part of a result's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_requests: int | None = Field(default=None, ge=1, le=4096)
    """Segments in the engine's batch at once; by default as many as its tokens hold, twice."""
    max_batched_tokens: int | None = Field(default=None, ge=256)
    """Tokens in one step of the engine, over all segments; by default eight of the longest
    segment's, up to what the device works off well."""
    num_gpus: int = Field(default=1, ge=1, le=64)
    """GPUs that share the model (tensor parallel)."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, lt=1)
    """Part of each GPU's memory that the engine may take."""
    cpu_cache_gib: int = Field(default=1, ge=1)
    """Memory of the attention cache, where there is no GPU."""
    cpu_threads: int | None = Field(default=None, ge=1)
    """Threads of the engine, where there is no GPU; by default its share of the cores, less those
    that prepare segments."""


def set_environment(resources: EngineResources) -> bool:
    """Set what vLLM reads from the environment when it is imported; says whether a GPU is there.

    Without a GPU the engine runs in this very process: one of its own would take half a minute and
    a gigabyte more.
    """
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",  # the model is a folder by now
        "TOKENIZERS_PARALLELISM": "false",
    }
    on_gpu = has_gpu()
    if not on_gpu:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(resources.cpu_cache_gib)
        os.environ["TORCH_COMPILE_DISABLE"] = "1"  # compiling would need a C++ compiler here
        if resources.cpu_threads:
            import torch

            torch.set_num_threads(resources.cpu_threads)
    return on_gpu


def batch_sizes(max_tokens: int, resources: EngineResources, *, on_gpu: bool) -> tuple[int, int]:
    """Give the most tokens and requests of one step, for requests of so many tokens at most.

    The bound on a request's tokens is high (`lengths`): twice the requests that it allows fit.
    """
    most = _GPU_STEP_TOKENS if on_gpu else _CPU_STEP_TOKENS
    tokens = resources.max_batched_tokens or min(_LONGEST_IN_A_STEP * max_tokens, most)
    tokens = max(tokens, max_tokens + 1)
    requests = resources.max_requests or min(max(_LEAST_REQUESTS, 2 * tokens // max_tokens), 256)
    return tokens, requests


def engine_options(
    model_path: Path, dtype: str, max_tokens: int, resources: EngineResources, on_gpu: bool
) -> dict[str, Any]:
    """vLLM's engine arguments (docs.vllm.ai, Engine Arguments)."""
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
        "enforce_eager": True,  # one token a request is all prompt: no graph to replay
        "enable_prefix_caching": True,  # all requests begin with the instruction
        "block_size": 16 if on_gpu else 32,  # whole blocks of it are cached: small ones
        "logprobs_mode": "raw_logprobs",
        "limit_mm_per_prompt": {"image": 0, "video": 1, "audio": 1},
        "mm_processor_cache_gb": 0,  # no segment comes twice
        "skip_mm_profiling": not on_gpu,  # it measures what media take of a GPU's memory
        **lora_options(model_path),
    }
