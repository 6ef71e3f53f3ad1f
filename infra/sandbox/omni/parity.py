"""Check that vLLM would read a model's input as training did, without starting its engine.

``python -m infra.sandbox.omni.parity --model DIR`` gives the same toy segments to transformers'
processor and to vLLM's, and compares prompt token ids, pixels and mel features one by one.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from infra.sandbox.omni.build import FRAME_SIZE, MAX_TOKENS
from tasks.omni.inputs import InputConfig, OmniInput, make_input, to_model_row, to_vllm_request

# The tensors compared, each with vLLM's name for it.
VLLM_NAMES = {
    "input_features": "input_audio_features",
    "pixel_values_videos": "pixel_values_videos",
}
DURATIONS_S = (0.3, 2.51, 3.337, 5.0)


def toy_inputs() -> Iterator[OmniInput]:
    """Segments of several lengths with both media, one of them, or words alone."""
    config = InputConfig(
        min_pixels=FRAME_SIZE["shortest_edge"], max_pixels=FRAME_SIZE["longest_edge"]
    )
    rng = np.random.default_rng(0)
    for duration_s in DURATIONS_S:
        num_frames, num_samples = max(1, round(2 * duration_s)), int(16_000 * duration_s)
        frames = rng.integers(0, 256, (num_frames, 336, 448, 3), np.uint8)
        sound = rng.normal(0, 0.1, num_samples).astype(np.float32)
        yield make_input(config, frames=frames, sound=sound, words="i am sure")
        yield make_input(config, frames=frames, sound=None, words="")
        yield make_input(config, frames=None, sound=sound, words="maybe")


def open_vllm_processor(model: Path) -> Any:
    """Open the processor that vLLM's engine would use."""
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY

    config = ModelConfig(
        model=str(model),
        dtype="float32",
        max_model_len=MAX_TOKENS,
        limit_mm_per_prompt={"image": 0, "video": 1, "audio": 1},
    )
    return MULTIMODAL_REGISTRY.create_processor(config)


def differences(processor: Any, vllm_processor: Any, inputs: OmniInput) -> list[str]:
    """What vLLM would read otherwise; empty where the two agree bit by bit."""
    import torch

    row = to_model_row(processor, inputs)
    request = to_vllm_request(inputs)
    items = vllm_processor.info.parse_mm_data(request["multi_modal_data"])
    read = vllm_processor(
        request["prompt"], items, hf_processor_mm_kwargs=request["mm_processor_kwargs"]
    )
    found = []
    if list(read["prompt_token_ids"]) != row["input_ids"].tolist():
        found.append("prompt token ids")
    tensors = read["mm_kwargs"].get_data()
    for name, vllm_name in VLLM_NAMES.items():
        if name in row and not torch.equal(row[name], tensors[vllm_name].float()):
            found.append(name)
    return found


def main() -> int:
    """Compare; status 1 where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    model = parser.parse_args().model
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(model)
    vllm_processor = open_vllm_processor(model)
    all_inputs = list(toy_inputs())
    found = [differences(processor, vllm_processor, inputs) for inputs in all_inputs]
    num_same = sum(not names for names in found)
    print(f"{num_same} of {len(found)} segments are read alike by transformers and vLLM")
    for names in filter(None, found):
        print(f"different: {', '.join(names)}")
    return 0 if num_same == len(found) else 1


if __name__ == "__main__":
    for name in ("HF_HUB_OFFLINE", "DO_NOT_TRACK", "VLLM_NO_USAGE_STATS"):
        os.environ.setdefault(name, "1")
    sys.exit(main())
