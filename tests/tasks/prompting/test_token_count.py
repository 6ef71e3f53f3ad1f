from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoProcessor

from storage.store.store import Store
from tasks.inference.preparation import DecodeSample
from tasks.prompting.model_input import InputConfig, to_model_row
from tasks.prompting.token_count import TokenCounter


@pytest.mark.parametrize(
    "settings",
    [
        {"max_pixels": 64 * 64},
        {"min_pixels": 150 * 100, "fps": 7.3, "prompt": "definition-context", "answer": "tag"},
        {"transcript": False, "fps": 1},
        {"video": False},
    ],
)
def test_token_counts_equal_those_of_the_processor(  # type: ignore[no-untyped-def]
    settings, tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    store, config = Store(str(tmp_path)), InputConfig.model_validate(settings)
    samples = toy_samples(store, 6)  # one has no audio
    samples[0] = replace(samples[0], transcript="ünd so <|video_pad|> on")
    store.write_bytes(samples[1].video_path, b"no video")
    samples[2] = replace(samples[2], video_path=None)
    processor = AutoProcessor.from_pretrained(tiny_omni)
    counter, decode = (
        TokenCounter(store, config, tiny_omni),
        DecodeSample(store_url=store.url, config=config),
    )
    for sample in samples:
        row = to_model_row(processor, decode(sample))  # type: ignore[arg-type]
        assert counter.count(sample) == len(row["input_ids"])
