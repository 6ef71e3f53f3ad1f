from pathlib import Path

import numpy as np
import pytest
import torch
from faster_whisper import WhisperModel

from infra.sandbox.sentences import WORDS
from infra.sandbox.speech import TRAIN_VOICES
from infra.sandbox.whisper.bank import write_bank
from infra.sandbox.whisper.export import export
from infra.sandbox.whisper.model import ALIGNMENT_HEADS
from infra.sandbox.whisper.train import train
from infra.sandbox.whisper.vocabulary import build_tokenizer, read_vocabulary


@pytest.mark.slow
def test_a_stopped_training_goes_on_where_it_stood_and_its_model_opens(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(WORDS)
    vocabulary = read_vocabulary(tokenizer, WORDS)
    write_bank(tmp_path / "bank", 4, 0, TRAIN_VOICES[:1])
    banks = tmp_path / "bank", tmp_path / "bank"
    whole_path, stopped_path = tmp_path / "whole", tmp_path / "stopped"
    whole_path.mkdir()
    stopped_path.mkdir()
    whole = train(vocabulary, banks, whole_path, 0, stop_after=2)
    train(vocabulary, banks, stopped_path, 0, stop_after=1)
    continued = train(vocabulary, banks, stopped_path, 0, stop_after=2)
    for one, other in zip(whole.parameters(), continued.parameters(), strict=True):
        torch.testing.assert_close(one, other)

    export(continued.whisper, tokenizer, vocabulary, tmp_path / "model")
    assert sum(f.stat().st_size for f in (tmp_path / "model").iterdir()) < 3_000_000
    model = WhisperModel(str(tmp_path / "model"), device="cpu", cpu_threads=1)
    assert model.supported_languages == ["en"]
    assert str(ALIGNMENT_HEADS).replace(" ", "") in "".join(
        (tmp_path / "model" / "config.json").read_text().split()
    )
    found, _ = model.transcribe(np.zeros(32_000, np.float32), without_timestamps=True, beam_size=1)
    assert isinstance(list(found), list)
