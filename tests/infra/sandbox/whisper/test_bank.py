from pathlib import Path

import numpy as np

from infra.sandbox.speech import ACCENTS, HELD_OUT_VOICES, TRAIN_VOICES, speak
from infra.sandbox.whisper.bank import OTHER_VOICES, bank_exists, read_bank, write_bank

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


def test_no_bank_voice_is_a_held_out_variant_and_every_one_can_be_spoken() -> None:
    held_out = {voice.name.split("+")[1] for voice in HELD_OUT_VOICES}
    assert not held_out & {voice.name.split("+")[1] for voice in TRAIN_VOICES + OTHER_VOICES}
    for voice in OTHER_VOICES[:: len(ACCENTS)]:
        assert speak("yes", voice, 1, np.random.default_rng(0)).duration_ms > 100
