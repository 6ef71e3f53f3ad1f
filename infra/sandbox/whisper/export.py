"""Export of the trained network as a folder for faster-whisper: CTranslate2, int8."""

import json
import tempfile
from pathlib import Path

from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, WhisperForConditionalGeneration

from infra.sandbox.whisper.model import ALIGNMENT_HEADS
from infra.sandbox.whisper.vocabulary import Vocabulary

_PREPROCESSOR = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "processor_class": "WhisperProcessor",
    "chunk_length": 30,
    "feature_size": 80,
    "hop_length": 160,
    "n_fft": 400,
    "sampling_rate": 16_000,
    "n_samples": 480_000,
    "nb_max_frames": 3000,
    "padding_value": 0.0,
    "return_attention_mask": False,
}


def export(
    whisper: WhisperForConditionalGeneration,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    out_path: Path,
) -> None:
    """Write the weights, their config and vocabulary, the tokenizer and the feature settings."""
    with tempfile.TemporaryDirectory() as folder:
        _save_hugging_face(whisper, tokenizer, vocabulary, Path(folder))
        converter = TransformersConverter(
            folder, copy_files=["tokenizer.json", "preprocessor_config.json"]
        )
        converter.convert(str(out_path), quantization="int8", force=True)
    config = json.loads((out_path / "config.json").read_text())
    config |= {"alignment_heads": ALIGNMENT_HEADS, "lang_ids": [vocabulary.english]}
    (out_path / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _save_hugging_face(
    whisper: WhisperForConditionalGeneration,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    folder: Path,
) -> None:
    generation = whisper.generation_config
    generation.suppress_tokens, generation.begin_suppress_tokens = [], []
    generation.no_timestamps_token_id = vocabulary.no_timestamps
    whisper.save_pretrained(folder)
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, bos_token=end, unk_token=end, pad_token=end
    ).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSOR))
    tokenizer.save(str(folder / "tokenizer.json"))
