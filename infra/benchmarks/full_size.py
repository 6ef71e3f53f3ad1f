"""Qwen3-Omni-30B-A3B's thinker at full size with random weights, trained by LoRA on one device.

``python -m infra.benchmarks.full_size [--rows 4] [--steps 8]`` prints samples and tokens per
second, peak memory and the fraction of the device's bfloat16 peak, from stored features and with
the towers run in every step, with logits of the last position and of all. Nothing is downloaded:
the shape is that of https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct, weights are random.
Not run on a GPU so far.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.prompting.model_input import collate_rows
from tasks.training.data.towers import (
    AUDIO,
    NUM_HOPS,
    VIDEO,
    Row,
    accept_features,
    bytes_per_token,
    collate_features,
)
from tasks.training.model.last_position import compute_last_position_only
from tasks.training.model.trainable import with_adapters
from tasks.training.settings import TrainingSettings

HIDDEN, VOCABULARY = 2_048, 151_936
_ACTIVE_FRACTION_OF_EXPERTS = 8 / 128
_WARM_UP = 2
_GRID = (5, 28, 28)  # ten frames of 448 x 448, in pairs
_NUM_HOPS = 500  # five seconds
_NUM_TEXT = 180
_AUDIO, _IMAGE, _VIDEO = 151_675, 151_655, 151_656
_VISION_START, _VISION_END, _AUDIO_START, _AUDIO_END = 151_652, 151_653, 151_669, 151_670


def full_size_config() -> Any:
    """Return the configuration of the full-size thinker."""
    from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import (
        Qwen3OmniMoeThinkerConfig,
    )

    return Qwen3OmniMoeThinkerConfig(
        text_config=_text_config(),
        vision_config={
            "depth": 27, "hidden_size": 1_152, "num_heads": 16, "intermediate_size": 4_304,
            "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
            "out_hidden_size": HIDDEN, "num_position_embeddings": 2_304,
            "deepstack_visual_indexes": [8, 16, 24],
        },
        audio_config={
            "num_mel_bins": 128, "encoder_layers": 32, "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5_120, "d_model": 1_280, "output_dim": HIDDEN, "n_window": 50,
            "n_window_infer": 800, "conv_chunksize": 500, "downsample_hidden_size": 480,
        },
        audio_token_id=_AUDIO, image_token_id=_IMAGE, video_token_id=_VIDEO,
        vision_start_token_id=_VISION_START, audio_start_token_id=_AUDIO_START,
        position_id_per_seconds=13, tie_word_embeddings=False,
    )  # fmt: skip


def _text_config() -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 768,
        "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
        "norm_topk_prob": True, "decoder_sparse_step": 1, "max_position_embeddings": 65_536,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e6, "mrope_section": [24, 20, 20],
            "mrope_interleaved": True, "interleaved": True,
        },
    }  # fmt: skip


def build_thinker(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Any:
    """Create the thinker on its device, so that host memory holds none of its 61 GB.

    On the ``meta`` device it has shapes and no values.
    """
    from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            thinker = Qwen3OmniMoeThinkerForConditionalGeneration(full_size_config())
    finally:
        torch.set_default_dtype(before)
    if device.type != "meta":
        with torch.no_grad():
            for weights in thinker.parameters():
                weights.normal_(0, 0.02) if weights.dim() > 1 else weights.fill_(1.0)
    return thinker


def num_text_parameters(thinker: Any) -> int:
    """Count the language model's parameters, its output layer included."""
    parts = (thinker.model, thinker.lm_head)
    return sum(p.numel() for part in parts for p in part.parameters())


def num_active_parameters(thinker: Any) -> int:
    """Count the parameters active per token: 8 of 128 experts, without the embedding table."""
    return sum(
        round(p.numel() * (_ACTIVE_FRACTION_OF_EXPERTS if ".experts." in name else 1))
        for name, p in thinker.model.named_parameters()
        if "embed_tokens" not in name and "lora_" not in name
    )


def random_row(thinker: Any, *, from_features: bool, seed: int = 0) -> Row:
    """Return a random segment of five seconds: ten frames, audio and a prompt."""
    generator = torch.Generator().manual_seed(seed)
    num_video, num_audio = _GRID[0] * _GRID[1] * _GRID[2] // 4, _NUM_HOPS // 100 * 13
    text = torch.randint(0, 150_000, (_NUM_TEXT,), generator=generator)
    video = [_VISION_START, *[_VIDEO] * num_video, _VISION_END]
    audio = [_AUDIO_START, *[_AUDIO] * num_audio, _AUDIO_END]
    row = {
        "input_ids": torch.cat([text[:-30], torch.tensor(video + audio), text[-30:]]),
        "video_grid_thw": torch.tensor([_GRID]),
        "video_second_per_grid": torch.tensor([1.0]),
    }
    if from_features:
        layers = bytes_per_token(thinker, torch.bfloat16)[0] // (2 * HIDDEN)
        row[VIDEO] = torch.randn(num_video, layers * HIDDEN, generator=generator).bfloat16()
        row[AUDIO] = torch.randn(num_audio, HIDDEN, generator=generator).bfloat16()
        row[NUM_HOPS] = torch.tensor([_NUM_HOPS])
    else:
        patches = _GRID[0] * _GRID[1] * _GRID[2]
        row["pixel_values_videos"] = torch.randn(patches, 1_536, generator=generator)
        row["input_features"] = torch.randn(128, _NUM_HOPS, generator=generator)
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Measured speed; ``peak_fraction`` is relative to the device's stated bfloat16 peak."""

    samples_per_second: float
    tokens_per_second: float
    peak_gib: float
    peak_fraction: float

    @property
    def as_cells(self) -> str:
        """The measurements as cells of a table."""
        speeds = f"{self.samples_per_second:.2f} | {self.tokens_per_second:.0f}"
        return f"{speeds} | {self.peak_gib:.1f} | {self.peak_fraction:.1%}"


def measure(trained: Any, rows: Sequence[Row], *, steps: int, peak_tflops: float) -> Speed:
    """Time steps over the same micro-batch.

    Frozen weights cost two operations per token forward and two backward.
    """
    device = next(trained.parameters()).device
    optimizer = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], lr=1e-5)
    collate = collate_features if VIDEO in rows[0] else collate_rows
    torch.cuda.reset_peak_memory_stats()
    started = 0.0
    for step in range(_WARM_UP + steps):
        if step == _WARM_UP:
            torch.cuda.synchronize()
            started = time.perf_counter()
        batch = {name: values.to(device) for name, values in collate(rows, 0).items()}
        with torch.autocast(device.type, torch.bfloat16):
            logits = trained(**batch, use_cache=False).logits[:, -1].float()
        answers = torch.zeros(len(rows), dtype=torch.long, device=device)
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, answers))
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / steps
    num_tokens = sum(len(row["input_ids"]) for row in rows)
    thinker = trained.get_base_model()
    operations = 4 * num_active_parameters(thinker) * num_tokens
    return Speed(
        samples_per_second=len(rows) / seconds,
        tokens_per_second=num_tokens / seconds,
        peak_gib=torch.cuda.max_memory_allocated() / 2**30,
        peak_fraction=operations / seconds / (peak_tflops * 1e12),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.full_size")
    parser.add_argument("--rows", type=int, default=4, help="samples in a micro-batch")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peak-tflops", type=float, default=989, help="dense bf16, of the device")
    parser.add_argument("--keep-activations", action="store_true", help="no gradient checkpointing")
    parser.add_argument("--train", default="attention,experts", help="parts of the model")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("error: this needs a CUDA device with about 80 GB or more")
        return 2
    settings = TrainingSettings.model_validate({"parts": tuple(options.train.split(","))})
    thinker = build_thinker(torch.device("cuda"))
    if not options.keep_activations:
        thinker.gradient_checkpointing_enable({"use_reentrant": False})
    trained = with_adapters(thinker, settings)
    accept_features(thinker)
    trained.train()
    print(
        f"{torch.cuda.get_device_name()}; "
        f"{num_text_parameters(thinker) / 1e9:.1f} billion parameters"
    )
    print(
        "| logits | towers | samples/s | tokens/s | peak GiB | of bf16 peak |\n" + "|---" * 6 + "|"
    )
    for position in ("every position", "last position"):
        if position == "last position":
            compute_last_position_only(trained)
        for towers in ("in every step", "once, stored"):
            from_features = towers != "in every step"
            row = random_row(thinker, from_features=from_features)
            found = measure(
                trained, [row] * options.rows, steps=options.steps, peak_tflops=options.peak_tflops
            )
            print(f"| {position} | {towers} | {found.as_cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
