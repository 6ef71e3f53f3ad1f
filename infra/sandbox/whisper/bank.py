"""Utterance banks: many sentences of the training voices, synthesized once and kept on disk.

The wide bank adds espeak-ng's other variants, which no participant has because their pitch range
does not cover both stances. Neither bank contains a held-out variant.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.sandbox.sentences import draw_sentence
from infra.sandbox.speech import ACCENTS, TRAIN_VOICES, SpokenWord, Stance, Voice, speak

_SAMPLES, _INDEX = "bank.npy", "bank.json"
_WEAKEST_CUE = 0.3
_OTHER_VARIANTS = (
    *("Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky"),
    *("Lee", "Mario", "Michael", "Mike", "Storm", "UniRobot", "adam", "anika", "belinda", "david"),
    *("grandma", "grandpa", "gustave", "iven", "kaukovalta", "klatt", "linda", "m1", "m2", "m3"),
    *("m4", "m5", "m6", "m7", "m8", "marcelo", "max", "norbert", "pedro", "quincy", "rob"),
    *("robert", "robosoft3", "sandro", "travis", "victor", "zac"),
)
OTHER_VOICES = tuple(
    Voice(name=f"{accent}+{variant}", negative_pitch=15, positive_pitch=85)
    for variant in _OTHER_VARIANTS
    for accent in ACCENTS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankEntry:
    """One utterance: its range in the bank's samples, and its words."""

    voice: str
    stance: Stance
    first: int
    stop: int
    words: tuple[SpokenWord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """All utterances, grouped by voice and stance."""

    samples: NDArray[np.int16]
    """16 kHz mono, memory-mapped, one utterance after another."""
    entries: dict[str, dict[Stance, list[BankEntry]]]


def write_bank(
    folder: Path, num_per_voice: int, seed: int, voices: tuple[Voice, ...] = TRAIN_VOICES
) -> None:
    """Speak ``num_per_voice`` random sentences with every voice, both stances, any strength."""
    rng = np.random.default_rng(seed)
    audios: list[NDArray[np.int16]] = []
    rows: list[dict[str, object]] = []
    position = 0
    for voice in voices:
        for number in range(num_per_voice):
            stance: Stance = -1 if number % 2 else 1
            strength = float(rng.uniform(_WEAKEST_CUE, 1))
            spoken = speak(draw_sentence(rng).text, voice, stance, rng, strength)
            audios.append((spoken.samples * 32767).astype(np.int16))
            words = [[w.text, w.start_ms, w.end_ms] for w in spoken.words]
            rows.append({"voice": voice.name, "stance": stance, "first": position, "words": words})
            position += len(spoken.samples)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / _SAMPLES, np.concatenate(audios))
    (folder / _INDEX).write_text(json.dumps({"end": position, "rows": rows}))


def read_bank(folder: Path) -> Bank:
    """Open a bank; its samples are memory-mapped."""
    samples = np.load(folder / _SAMPLES, mmap_mode="r")
    index = json.loads((folder / _INDEX).read_text())
    rows = index["rows"]
    stops = [row["first"] for row in rows[1:]] + [index["end"]]
    entries: dict[str, dict[Stance, list[BankEntry]]] = {}
    for row, stop in zip(rows, stops, strict=True):
        words = tuple(SpokenWord(text=t, start_ms=a, end_ms=b) for t, a, b in row["words"])
        entry = BankEntry(
            voice=row["voice"], stance=row["stance"], first=row["first"], stop=stop, words=words
        )
        entries.setdefault(entry.voice, {-1: [], 1: []})[entry.stance].append(entry)
    return Bank(samples=samples, entries=entries)


def write_banks(folder: Path, num_per_voice: int, seed: int) -> tuple[Path, Path]:
    """Write the narrow and the wide bank unless they exist, and return their folders."""
    narrow, wide = folder / "bank", folder / "wide-bank"
    if not bank_exists(narrow):
        write_bank(narrow, num_per_voice, seed)
    if not bank_exists(wide):
        write_bank(wide, max(2, num_per_voice // 5), seed + 1, TRAIN_VOICES + OTHER_VOICES)
    return narrow, wide


def bank_exists(folder: Path) -> bool:
    """Return whether ``folder`` contains a finished bank, whose index is written last."""
    return (folder / _INDEX).is_file()
