"""The tiny Whisper's tokenizer: Whisper's special tokens, bytes, and one token for each word."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

NUM_TIMES = 1501
"""Timestamp tokens 0.00, 0.02 ... 30.00 s."""
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
    *(f"<|{i * 0.02:.2f}|>" for i in range(NUM_TIMES)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Token ids by their meaning."""

    size: int
    words: dict[str, int]
    """Word to token id; the word's index among the words is its position in this mapping."""
    start: int
    end: int
    english: int
    no_speech: int
    no_timestamps: int
    first_time: int


def build_tokenizer(words: Sequence[str]) -> Tokenizer:
    """Build a byte-level BPE in which each of ``words``, after a space, is one token.

    All bytes stay in the vocabulary, so any text can be encoded (faster-whisper encodes
    punctuation when it opens a model). Raises ValueError if a word is not one token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f" {word}" for word in words for _ in range(2)], trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    split = [word for word in words if len(tokenizer.encode(f" {word}").ids) != 1]
    if split:
        raise ValueError(f"words of more than one token: {split!r}; expected one token each")
    return tokenizer


def read_vocabulary(tokenizer: Tokenizer, words: Sequence[str]) -> Vocabulary:
    """Look up the ids that training needs."""
    ids = tokenizer.get_vocab()
    return Vocabulary(
        size=tokenizer.get_vocab_size(),
        words={word: tokenizer.encode(f" {word}").ids[0] for word in words},
        start=ids["<|startoftranscript|>"],
        end=ids["<|endoftext|>"],
        english=ids["<|en|>"],
        no_speech=ids["<|nospeech|>"],
        no_timestamps=ids["<|notimestamps|>"],
        first_time=ids["<|0.00|>"],
    )
