from pathlib import Path

import numpy as np

from infra.sandbox.speech import TRAIN_VOICES
from infra.sandbox.whisper.bank import bank_exists, read_bank, write_bank

VOICES = TRAIN_VOICES[:2]


def test_a_bank_holds_every_voice_in_both_stances_and_reads_back_whole(tmp_path: Path) -> None:
    assert not bank_exists(tmp_path)
    write_bank(tmp_path, 4, 0, VOICES)
    assert bank_exists(tmp_path)
    bank = read_bank(tmp_path)
    assert set(bank.entries) == {voice.name for voice in VOICES}
    for by_stance in bank.entries.values():
        assert {stance: len(rows) for stance, rows in by_stance.items()} == {-1: 2, 1: 2}
        for entry in (*by_stance[-1], *by_stance[1]):
            seconds = (entry.stop - entry.first) / 16_000
            assert 0 < entry.words[-1].end_ms / 1000 <= seconds
            assert np.abs(bank.samples[entry.first : entry.stop]).max() > 1000


def test_the_same_seed_makes_the_same_bank(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_bank(tmp_path / name, 1, 5, VOICES)
    for file in ("bank.npy", "bank.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
