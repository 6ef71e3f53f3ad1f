"""vLLM's side of a served adapter: engine arguments, LoRA requests, and a patch for CPUs.

Imports vLLM only inside functions, which run where the engine is opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from tasks.adapters.serving import SERVED_LAYERS, read_json
from tasks.model.model_folder import ADAPTER_CONFIG, served_adapter


def lora_options(model_path: Path) -> dict[str, Any]:
    """Return vLLM's engine arguments for a model's served adapter; empty without one."""
    adapter = served_adapter(model_path)
    if adapter is None:
        return {}
    from vllm.config.lora import MaxLoRARanks

    rank = read_json(adapter / ADAPTER_CONFIG)["r"]
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": min(limit for limit in get_args(MaxLoRARanks) if limit >= rank),
        "lora_target_modules": [*SERVED_LAYERS],
    }


def lora_request(model_path: Path) -> Any:
    """Return vLLM's ``LoRARequest`` for a model's served adapter; ``None`` without one.

    vLLM keys its prefix cache by it: requests with the adapter never use blocks of the base.
    """
    adapter = served_adapter(model_path)
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest(lora_name=adapter.name, lora_int_id=1, lora_path=str(adapter))


@contextmanager
def without_lora_experts(config: Any) -> Iterator[None]:
    """On a CPU, let vLLM 0.32 open the plain experts although LoRA is enabled.

    With LoRA it opens Triton experts, which no CPU runs (`AttributeError: module 'triton.language'
    has no attribute 'float32'`, in fused_moe/oracle/unquantized.py), even if `lora_target_modules`
    excludes experts.
    """
    if config.lora_config is None or config.device_config.device_type != "cpu":
        yield
        return
    from vllm.model_executor.layers.fused_moe import layer

    original = layer.FusedMoEConfig
    layer.FusedMoEConfig = lambda **options: original(**{**options, "is_lora_enabled": False})
    try:
        yield
    finally:
        layer.FusedMoEConfig = original
