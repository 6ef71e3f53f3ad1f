"""How training loads its base model: device, precision, quantization, and expert kernels.

Experts are computed by one of transformers' implementations (transformers.integrations.moe):
``grouped_mm`` multiplies all experts' tokens in one grouped matrix product, ``batched_mm`` copies
weights to tokens, and ``eager`` loops over the experts, which leaves a GPU idle most of the time.

4-bit is bitsandbytes' NF4 (Dettmers et al. 2023, QLoRA) for linear layers. The fused experts of
transformers 5 are not linear layers and stay in 16 bits (bitsandbytes issue 1849).
"""

from importlib.util import find_spec
from typing import Any

import torch

from storage.errors import ConfigError, ToolError
from tasks.model.loading import LoadOptions
from tasks.training.settings import Experts, FinetuneResources, TrainingSettings

_MIN_GROUPED_CAPABILITY = (8, 0)
_NOT_QUANTIZED = ["visual", "audio_tower", "lm_head", "gate"]
_CPU = torch.device("cpu")


def plan_loading(
    settings: TrainingSettings,
    resources: FinetuneResources,
    device: torch.device = _CPU,
) -> LoadOptions:
    """Choose the load options for a training, before any weight is read.

    Raises:
        ConfigError: the device does not support the settings.
        ToolError: a required library is not installed.
    """
    return LoadOptions(
        dtype=load_dtype(settings),
        device=device,
        experts=experts_for(device, resources.experts),
        quantization=_quantization(settings, device),
    )


def load_dtype(settings: TrainingSettings) -> torch.dtype:
    """Return the dtype of the loaded weights.

    Fully trained weights are float32: bfloat16 would round small updates away.
    """
    return torch.float32 if settings.method == "full" else getattr(torch, settings.precision)


def experts_for(device: torch.device, requested: Experts) -> str:
    """Choose an expert implementation for ``auto``.

    Raises:
        ConfigError: the GPU only supports the loop over experts, which must be requested by name.
    """
    if requested != "auto":
        return requested
    if device.type != "cuda" or torch.cuda.get_device_capability(device) >= _MIN_GROUPED_CAPABILITY:
        return "grouped_mm"
    raise ConfigError(
        f"The GPU {torch.cuda.get_device_name(device)!r} does not support grouped matrix products, "
        "which need compute capability 8.0: set resources.finetune.experts = batched_mm, or eager "
        "for the slow loop over experts."
    )


def _quantization(settings: TrainingSettings, device: torch.device) -> Any:
    if settings.quantize == "none":
        return None
    if device.type != "cuda":
        raise ConfigError(
            "finetune.quantize = 4bit requires an NVIDIA GPU, but training runs on "
            f"{device.type!r}: set finetune.quantize = none."
        )
    if find_spec("bitsandbytes") is None:
        raise ToolError(
            "finetune.quantize = 4bit requires bitsandbytes: run `pip install bitsandbytes`, or "
            "set finetune.quantize = none."
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=_NOT_QUANTIZED,
    )
