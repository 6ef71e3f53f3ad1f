"""Build the sandbox's Qwen3-Omni-MoE: the real classes at about 1.5 million parameters.

Everything comes from configuration and from the sandbox's own words; nothing is downloaded. The
folder that ``save`` writes loads in transformers and in vLLM.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.records import AUDIO_SAMPLE_RATE
from tasks.prompting.prompt import answer_token_ids

FRAME_SIDE = 64
MAX_TOKENS = 4_096
HIDDEN = 128
# 480 x 640 and its reductions come out as 64 x 64: Qwen rounds each side down to a multiple of 32.
FRAME_SIZE = {"shortest_edge": FRAME_SIDE**2, "longest_edge": FRAME_SIDE * 96}

_CHAT_TEMPLATE = """\
{%- for m in messages %}<|im_start|>{{ m['role'] }}
{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}\
{% if c['type'] == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>\
{% elif c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{% elif c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>\
{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def build_processor(texts: Sequence[str]) -> Any:
    """Create the processor, with a tokenizer trained on these texts."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        Qwen3OmniMoeProcessor,
        WhisperFeatureExtractor,
    )

    from infra.sandbox.omni.tokenizer import train_tokenizer

    patches: dict[str, Any] = {
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": FRAME_SIZE,
    }
    return Qwen3OmniMoeProcessor(
        image_processor=Qwen2VLImageProcessor(**patches),
        video_processor=Qwen2VLVideoProcessor(**patches, min_frames=2, cap_pixels_per_frame=False),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=128,
            sampling_rate=AUDIO_SAMPLE_RATE,
            hop_length=160,
            n_fft=400,
            chunk_length=30,
            dither=0.0,
        ),
        tokenizer=train_tokenizer(texts, MAX_TOKENS),
        chat_template=_CHAT_TEMPLATE,
    )


def build_model(tokenizer: Any, seed: int) -> Any:
    """Create the model with random weights; thinker only, float32."""
    import torch
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

    answer_token_ids(tokenizer)
    config = Qwen3OmniMoeConfig(**_top_config(tokenizer))
    torch.manual_seed(seed)
    model = Qwen3OmniMoeForConditionalGeneration(config)
    _scale_to_fan_in(model)
    return model


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write a Hugging Face directory: safetensors, configuration, processor."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _scale_to_fan_in(model: Any) -> None:
    """Scale weights by fan-in: the library's fixed 0.02 is far too small at this width."""
    import torch

    with torch.no_grad():
        for name, weights in model.named_parameters():
            is_table = "embed_tokens" in name or "pos_emb" in name or "lm_head" in name
            if weights.dim() < 2 or is_table:
                continue
            # Fused experts are [experts, out, in]; convolutions have everything but `out` as input.
            fan_in = weights.shape[-1] if weights.dim() <= 3 else weights[0].numel()
            weights.normal_(0, 1 / math.sqrt(fan_in))


def _top_config(tokenizer: Any) -> dict[str, Any]:
    token_id = tokenizer.convert_tokens_to_ids
    return {
        "thinker_config": _thinker_config(tokenizer),
        "enable_audio_output": False,
        "im_start_token_id": token_id("<|im_start|>"),
        "im_end_token_id": token_id("<|im_end|>"),
        "system_token_id": token_id("system"),
        "user_token_id": token_id("user"),
        "assistant_token_id": token_id("assistant"),
        "tts_pad_token_id": token_id("<tts_pad>"),
        "tts_bos_token_id": token_id("<tts_text_bos>"),
        "tts_eos_token_id": token_id("<tts_text_eod>"),
        "dtype": "float32",
    }


def _thinker_config(tokenizer: Any) -> dict[str, Any]:
    token_id = tokenizer.convert_tokens_to_ids
    return {
        "text_config": _text_config(tokenizer),
        "vision_config": _vision_config(),
        "audio_config": _audio_config(),
        "audio_token_id": token_id("<|audio_pad|>"),
        "image_token_id": token_id("<|image_pad|>"),
        "video_token_id": token_id("<|video_pad|>"),
        "vision_start_token_id": token_id("<|vision_start|>"),
        "vision_end_token_id": token_id("<|vision_end|>"),  # vLLM reads it, transformers does not
        "audio_start_token_id": token_id("<|audio_start|>"),
        "audio_end_token_id": token_id("<|audio_end|>"),  # likewise
        "user_token_id": token_id("user"),
        "position_id_per_seconds": 13,
        "seconds_per_chunk": 2,
        "dtype": "float32",
    }


def _text_config(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "moe_intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "max_position_embeddings": MAX_TOKENS,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [6, 5, 5],  # sums to half of head_dim
            "mrope_interleaved": True,
            "interleaved": True,
        },
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "shared_expert_intermediate_size": 0,
        "use_qk_norm": True,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }


def _vision_config() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 64,
        "num_heads": 2,
        "intermediate_size": 128,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": HIDDEN,
        "num_position_embeddings": (FRAME_SIDE // 16) ** 2,
        "deepstack_visual_indexes": [0],
        "image_size": FRAME_SIDE,  # this key and the next three are read by vLLM only
        "apply_vit_abs_pos_embed": True,
        "spatial_patch_size": 16,
        "tokens_per_second": 2,
        "dtype": "float32",
    }


def _audio_config() -> dict[str, Any]:
    return {
        "num_mel_bins": 128,
        "encoder_layers": 2,
        "encoder_attention_heads": 3,
        "encoder_ffn_dim": 192,
        "d_model": 96,
        "output_dim": HIDDEN,
        "n_window": 50,
        "n_window_infer": 800,
        "conv_chunksize": 500,
        "downsample_hidden_size": 16,
        "max_source_positions": 1_500,
        "dtype": "float32",
    }
