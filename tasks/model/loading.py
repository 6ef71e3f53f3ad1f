"""How the base is opened for training: where, in how many bits, with which products of experts.

Experts are computed in one of transformers' ways (transformers.integrations.moe): ``grouped_mm``
multiplies all experts' tokens in one grouped product, ``batched_mm`` copies weights to tokens, and
``eager`` loops over the experts, which leaves a GPU waiting.

4-bit is bitsandbytes' NF4 (Dettmers et al. 2023, QLoRA) for linear layers. The fused experts of
transformers 5 are no linear layers and stay in 16 bits (bitsandbytes issue 1849).
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from storage.errors import ConfigError, ModelError, ToolError
from tasks.training.settings import Experts, FinetuneResources, TrainingSettings

_GROUPED_FROM = (8, 0)  # compute capability of the first GPUs with grouped products
_KEPT_WHOLE = ["visual", "audio_tower", "lm_head", "gate"]
_PROCESSOR = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to open a base; ``quantization`` is transformers' configuration of it, if any.

    The number type ``auto`` is the one that is stored. On the device ``meta`` weights are shapes
    alone.
    """

    dtype: torch.dtype | Literal["auto"]
    device: torch.device
    experts: str
    quantization: Any = None


def plan_loading(
    settings: TrainingSettings,
    resources: FinetuneResources,
    device: torch.device = _PROCESSOR,
) -> LoadOptions:
    """Decide how to open a base, before anything is read.

    Raises:
        ConfigError: the device cannot do what the settings ask for.
        ToolError: a library is missing.
    """
    return LoadOptions(
        dtype=load_dtype(settings),
        device=device,
        experts=experts_on(device, resources.experts),
        quantization=_quantization(settings, device),
    )


def load_dtype(settings: TrainingSettings) -> torch.dtype:
    """Trained weights are kept in float32: bfloat16 would round small updates away."""
    return torch.float32 if settings.method == "full" else getattr(torch, settings.precision)


def experts_on(device: torch.device, named: Experts) -> str:
    """Choose how experts are computed, where none is named.

    Raises:
        ConfigError: only the loop over experts is left, and it was not asked for by name.
    """
    if named != "auto":
        return named
    if device.type != "cuda" or torch.cuda.get_device_capability(device) >= _GROUPED_FROM:
        return "grouped_mm"
    raise ConfigError(
        f"The GPU {torch.cuda.get_device_name(device)!r} has no grouped matrix products (compute "
        "capability 8.0 or later has), and a loop over experts would leave it waiting: set "
        "resources.finetune.experts = batched_mm, or eager for that loop."
    )


def _quantization(settings: TrainingSettings, device: torch.device) -> Any:
    if settings.quantize == "none":
        return None
    if device.type != "cuda":
        raise ConfigError(
            "finetune.quantize = 4bit needs an NVIDIA GPU, and training would run on "
            f"{device.type!r}: set finetune.quantize = none."
        )
    if find_spec("bitsandbytes") is None:
        raise ToolError(
            "finetune.quantize = 4bit needs bitsandbytes: run `pip install bitsandbytes`, or set "
            "finetune.quantize = none."
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=_KEPT_WHOLE,
    )


def open_base(folder: Path, opening: LoadOptions) -> tuple[Any, Any]:
    """Open a checked folder's model and processor.

    Raises:
        ModelError: the folder's content does not fit the model's class.
    """
    from transformers import AutoProcessor

    try:
        top, loaded = _open_model(folder, opening)
        processor = AutoProcessor.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ModelError(
            f"The model {str(folder)!r} cannot be opened ({type(error).__name__}: {error}): "
            "expected a Hugging Face folder of the Qwen3-Omni family, as save_pretrained writes it."
        ) from error
    if absent := sorted(loaded["missing_keys"]):
        raise ModelError(
            f"The model {str(folder)!r} lacks {len(absent)} of its weights, among them "
            f"{absent[0]!r}: copy its weight files again."
        )
    return top, processor


def _open_model(folder: Path, opening: LoadOptions) -> tuple[Any, Any]:
    """On a GPU, straight into its memory: several processes would not fit into the host's."""
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

    config = Qwen3OmniMoeConfig.from_pretrained(folder)
    config.enable_audio_output = False  # the talker is neither opened nor saved
    if opening.device.type == "meta":
        return _open_shapes(folder, config, opening), {"missing_keys": ()}
    options: dict[str, Any] = {}
    if opening.device.type == "cuda":
        options["device_map"] = {"": opening.device}
    if opening.quantization is not None:
        options["quantization_config"] = opening.quantization
    return Qwen3OmniMoeForConditionalGeneration.from_pretrained(
        folder,
        config=config,
        dtype=opening.dtype,
        use_safetensors=True,
        output_loading_info=True,
        experts_implementation=opening.experts,
        **options,
    )


def _open_shapes(folder: Path, config: Any, opening: LoadOptions) -> Any:
    from transformers import GenerationConfig, Qwen3OmniMoeForConditionalGeneration

    with opening.device:
        top = Qwen3OmniMoeForConditionalGeneration._from_config(
            config, dtype=opening.dtype, experts_implementation=opening.experts
        )
    if (folder / "generation_config.json").exists():
        top.generation_config = GenerationConfig.from_pretrained(folder)
    return top


def spare_memory(thinker: Any) -> None:
    """Keep layers' inputs alone for the backward pass, and compute the rest a second time."""
    thinker.gradient_checkpointing_enable({"use_reentrant": False})
