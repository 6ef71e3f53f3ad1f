"""A small Qwen2 tokenizer in which every word of the sandbox and both answers are one token."""

import json
from collections.abc import Iterable
from typing import Any

# The markers of Qwen3-Omni's own tokenizer, in its order.
MARKERS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|audio_start|>",
    "<|audio_end|>",
    "<|audio_pad|>",
    "<tts_pad>",
    "<tts_text_bos>",
    "<tts_text_eod>",
    "<tts_text_bos_single>",
)
ROLES = ("system", "user", "assistant")
_NAMED_MARKERS = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
_ENOUGH_REPEATS = 50  # so that every merge is frequent enough to be made
_MAX_VOCABULARY = 4_000


def train_tokenizer(texts: Iterable[str], max_tokens: int) -> Any:
    """Train byte-level BPE on the texts until each of their words is one token."""
    from tokenizers import AddedToken
    from transformers import Qwen2TokenizerFast

    vocabulary, merges = _train_bpe([*texts, *(f"{role}\n" for role in ROLES)])
    tokenizer = Qwen2TokenizerFast(
        vocab=vocabulary,
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        extra_special_tokens=_NAMED_MARKERS,
        model_max_length=max_tokens,
    )
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKERS])
    return tokenizer


def _train_bpe(texts: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=_MAX_VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts * _ENOUGH_REPEATS, trainer)
    learned = json.loads(bpe.to_str())["model"]
    return learned["vocab"], [(first, second) for first, second in learned["merges"]]
