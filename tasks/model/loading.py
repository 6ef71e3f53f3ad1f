"""Load a base model and its processor from a Hugging Face folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from storage.errors import ModelError

_DAMAGE = (
    OSError, ValueError, RuntimeError, KeyError, SafetensorError, StrictDataclassError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load a base model.

    The dtype ``auto`` is the stored one. On the device ``meta`` no weights are read. ``experts`` is
    transformers' ``experts_implementation``, ``quantization`` its quantization config, if any.
    """

    dtype: torch.dtype | Literal["auto"]
    device: torch.device
    experts: str
    quantization: Any = None


def open_base(folder: Path, options: LoadOptions) -> tuple[Any, Any]:
    """Open a checked folder's model and processor.

    Raises:
        ModelError: the folder's content does not fit the model's class.
    """
    from transformers import AutoProcessor

    try:
        top, loaded = _open_model(folder, options)
        processor = AutoProcessor.from_pretrained(folder)
    except _DAMAGE as error:
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


def _open_model(folder: Path, options: LoadOptions) -> tuple[Any, Any]:
    """Load a model; on a GPU directly, as the host cannot hold one copy per process."""
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

    config = Qwen3OmniMoeConfig.from_pretrained(folder)
    config.enable_audio_output = False  # the talker is neither opened nor saved
    if options.device.type == "meta":
        return _open_shapes(folder, config, options), {"missing_keys": ()}
    optional: dict[str, Any] = {}
    if options.device.type == "cuda":
        optional["device_map"] = {"": options.device}
    if options.quantization is not None:
        optional["quantization_config"] = options.quantization
    return Qwen3OmniMoeForConditionalGeneration.from_pretrained(
        folder,
        config=config,
        dtype=options.dtype,
        use_safetensors=True,
        output_loading_info=True,
        experts_implementation=options.experts,
        **optional,
    )


def _open_shapes(folder: Path, config: Any, options: LoadOptions) -> Any:
    from transformers import GenerationConfig, Qwen3OmniMoeForConditionalGeneration

    with options.device:
        top = Qwen3OmniMoeForConditionalGeneration._from_config(
            config, dtype=options.dtype, experts_implementation=options.experts
        )
    if (folder / "generation_config.json").exists():
        top.generation_config = GenerationConfig.from_pretrained(folder)
    return top
