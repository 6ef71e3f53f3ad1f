"""Digests of what the processors of transformers and vLLM compute from one segment.

No model is loaded: equal digests show that a difference is one of arithmetic and not of input.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.fingerprint import digest_bytes, digest_of
from tasks.prompting.model_input import OmniInput, to_model_row, to_vllm_request

FeatureDigests = dict[str, str | None]
DigestFeatures = Callable[[OmniInput], FeatureDigests]

# The tensors compared, each with transformers' name for it and vLLM's.
_TENSORS = {
    "video_digest": ("pixel_values_videos", "pixel_values_videos"),
    "audio_digest": ("input_features", "input_audio_features"),
}


def open_transformers_processor(model_path: Path) -> DigestFeatures:
    """Open the processor that training and the baseline use."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(model_path, trust_remote_code=False)

    def digest_features(inputs: OmniInput) -> FeatureDigests:
        row = to_model_row(processor, inputs)
        digests: FeatureDigests = {"ids_digest": digest_of(row["input_ids"].tolist())}
        return digests | {key: _digest(row.get(name)) for key, (name, _) in _TENSORS.items()}

    return digest_features


def open_vllm_processor(model_path: Path, max_tokens: int) -> DigestFeatures:
    """Open the processor that vLLM's engine uses."""
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY

    config = ModelConfig(
        model=str(model_path),
        dtype="float32",
        max_model_len=max_tokens,
        limit_mm_per_prompt={"image": 0, "video": 1, "audio": 1},
    )
    processor = MULTIMODAL_REGISTRY.create_processor(config)

    def digest_features(inputs: OmniInput) -> FeatureDigests:
        request = to_vllm_request(inputs)
        items = processor.info.parse_mm_data(request.get("multi_modal_data", {}))
        processed = processor(
            request["prompt"], items, hf_processor_mm_kwargs=request.get("mm_processor_kwargs", {})
        )
        tensors = processed["mm_kwargs"].get_data()
        digests: FeatureDigests = {"ids_digest": digest_of(list(processed["prompt_token_ids"]))}
        return digests | {key: _digest(tensors.get(name)) for key, (_, name) in _TENSORS.items()}

    return digest_features


def _digest(tensor: Any) -> str | None:
    """Digest a tensor's shape and its values in float32."""
    if tensor is None:
        return None
    values = tensor.float().contiguous().numpy().tobytes()
    return digest_of(list(tensor.shape), digest_bytes(values))
