"""vLLM opened for an adapter that it serves: its options, its requests, and a check that it does.

Imports vLLM only where the engine is opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from tasks.adapters.serving import SERVED_LAYERS, read_json
from tasks.model.model_folder import ADAPTER_CONFIG, served_adapter


def lora_options(model_path: Path) -> dict[str, Any]:
    """Give vLLM's engine arguments for the adapter that is served on a model; none for none."""
    adapter = served_adapter(model_path)
    if adapter is None:
        return {}
    from vllm.config.lora import MaxLoRARanks

    rank = read_json(adapter / ADAPTER_CONFIG)["r"]
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": min(most for most in get_args(MaxLoRARanks) if most >= rank),
        "lora_target_modules": [*SERVED_LAYERS],
    }


def lora_request(model_path: Path) -> Any:
    """Give what vLLM wants beside each request; ``None`` for a model without adapter.

    vLLM keys its prefix cache by it, so the base's and the adapter's answers share no block.
    """
    adapter = served_adapter(model_path)
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest(lora_name=adapter.name, lora_int_id=1, lora_path=str(adapter))


@contextmanager
def plain_experts(config: Any) -> Iterator[None]:
    """On a CPU, let vLLM 0.32 open the experts that it opens where there is no LoRA.

    With LoRA it takes Triton's, which no CPU runs (`AttributeError: module 'triton.language' has
    no attribute 'float32'`, in fused_moe/oracle/unquantized.py), whether an adapter is for experts
    or not; `lora_target_modules` says that none is.
    """
    if config.lora_config is None or config.device_config.device_type != "cpu":
        yield
        return
    from vllm.model_executor.layers.fused_moe import layer

    upstream_variants = layer.FusedMoEConfig
    layer.FusedMoEConfig = lambda **facts: upstream_variants(**{**facts, "is_lora_enabled": False})
    try:
        yield
    finally:
        layer.FusedMoEConfig = upstream_variants
