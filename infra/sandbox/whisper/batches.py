"""Training batches: log-mel features, token targets, and the time span of each target.

Everything is sampled from (seed, step), so a resumed training gets the same batches as an
uninterrupted one. Shapes: B windows, L target positions, P encoder positions of 20 ms, M mel bins.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from faster_whisper.feature_extractor import FeatureExtractor

from infra.sandbox.whisper.bank import read_bank
from infra.sandbox.whisper.schedule import Phase, phase_at
from infra.sandbox.whisper.vocabulary import NUM_TIMES, Vocabulary
from infra.sandbox.whisper.windows import Window, draw_window

NUM_MELS = 80
MAX_FRAMES = 3000
IGNORED = -100
_POSITION_MS = 20
_FIRST_TIME_LIMIT = 50  # CTranslate2 allows the first timestamp to be at most 1.00 s
_SILENCE_WEIGHT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target token of one position, and the encoder positions of its audio."""

    token: int
    span: tuple[float, float] | None = None
    pause: float | None = None
    """For a sentence's last word: the position at which the next sentence begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors of one training step."""

    features: torch.Tensor  # [B, M, 2P]
    inputs: torch.Tensor  # [B, L]
    targets: torch.Tensor  # [B, L], IGNORED where there is no target
    heard: torch.Tensor  # [B, L, P], each row a distribution, or all 0
    near: torch.Tensor  # [B, L, P], 1 within two positions of the span
    words: torch.Tensor  # [B, P], index of the word being spoken, 0 for none
    previous_words: torch.Tensor  # [B, P], number of the word before it
    frame_weight: torch.Tensor  # [B, P], small in the padding


def draw_targets(
    window: Window, vocabulary: Vocabulary, with_times: bool
) -> tuple[list[Target], int]:
    """Return the targets after the prompt, and the prompt's length (with <|notimestamps|>: 2)."""
    targets: list[Target] = []
    for index, sentence in enumerate(window.sentences):
        following = window.sentences[index + 1 :]
        next_ms = following[0][0].start_ms if following else sentence[-1].end_ms + 1000
        first, last = sentence[0].start_ms, sentence[-1].end_ms
        if with_times:
            number = min(NUM_TIMES - 1 if index else _FIRST_TIME_LIMIT, round(first / 20))
            targets.append(_time_target(vocabulary, number, first, -4))
        for word in sentence:
            ends = word is sentence[-1] and next_ms - last > 100
            targets.append(
                Target(
                    token=vocabulary.words[word.text],
                    span=(word.start_ms / _POSITION_MS, word.end_ms / _POSITION_MS),
                    pause=next_ms / _POSITION_MS - 1 if ends else None,
                )
            )
        if with_times:
            number = min(NUM_TIMES - 1, round(last / 20))
            targets.append(_time_target(vocabulary, number, last, -6))
    if window.sentences:
        end = window.sentences[-1][-1].end_ms / _POSITION_MS
        targets.append(Target(token=vocabulary.end, span=(end, end + 50)))
    else:
        targets += [Target(token=vocabulary.no_speech)] if with_times else []
        targets.append(Target(token=vocabulary.end))
    return targets, 1 if with_times else 2


def _time_target(vocabulary: Vocabulary, number: int, time_ms: int, from_position: int) -> Target:
    position = time_ms / _POSITION_MS + from_position
    return Target(token=vocabulary.first_time + number, span=(position, position + 10))


class Batches:
    """The batch of every step, each sampled and collated on access."""

    def __init__(self, bank_paths: tuple[Path, Path], vocabulary: Vocabulary, seed: int) -> None:
        self._narrow, self._wide = (read_bank(path) for path in bank_paths)
        self._vocabulary, self._seed = vocabulary, seed
        self._extract = FeatureExtractor(feature_size=NUM_MELS)

    def __getitem__(self, step: int) -> Batch:
        """Sample and collate the batch of a step; 0 is the first.

        Raises:
            IndexError: training is over at this step.
        """
        phase = phase_at(step)
        if phase is None:
            raise IndexError(step)
        rng = np.random.default_rng((self._seed, step))
        group = phase.groups[rng.choice(len(phase.groups), p=phase.chances)]
        lengths = [group.draw_seconds(rng) for _ in range(group.num_windows)]
        bank = self._wide if phase.many_voices else self._narrow
        windows = [draw_window(bank, seconds, rng) for seconds in lengths]
        return collate(windows, self._extract, self._vocabulary, phase, rng)


def collate(
    windows: list[Window],
    extract: FeatureExtractor,
    vocabulary: Vocabulary,
    phase: Phase,
    rng: np.random.Generator,
) -> Batch:
    """Turn windows into tensors; half of them with timestamps."""
    mels = [torch.from_numpy(extract(w.samples)[:, :-1][:, :MAX_FRAMES]) for w in windows]
    if phase.many_voices:
        mels = [bend(mel, rng) if rng.random() < 0.5 else mel for mel in mels]
    num_frames = phase.num_frames(max(mel.shape[1] for mel in mels), rng)
    targets_and_prompts = [draw_targets(w, vocabulary, bool(rng.random() < 0.5)) for w in windows]
    length = max(len(targets) + prompt - 1 for targets, prompt in targets_and_prompts)
    batch = _empty(len(windows), length, num_frames, vocabulary)
    for row, (window, mel, (targets, prompt)) in enumerate(
        zip(windows, mels, targets_and_prompts, strict=True)
    ):
        _fill_audio(batch, row, window, mel, vocabulary, rng)
        _fill_targets(batch, row, targets, prompt, vocabulary)
    return batch


def bend(mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Move resonances up or down, each band separately, and change their gain; [M, F].

    The knots stay in order: no resonance passes another.
    """
    knots = np.linspace(0, NUM_MELS - 1, 6)
    bands = np.arange(NUM_MELS)
    moved = knots + np.concatenate([[0], rng.uniform(-4, 4, 4), [0]])
    source = np.interp(bands, knots, moved)
    below = np.minimum(source.astype(int), NUM_MELS - 2)
    weight = torch.from_numpy((source - below).astype(np.float32))[:, None]
    color = np.interp(bands, knots, rng.normal(0, 0.06, len(knots))).astype(np.float32)
    bent = (1 - weight) * mel[below] + weight * mel[below + 1]
    return bent + torch.from_numpy(color)[:, None]


def _empty(num: int, length: int, num_frames: int, vocabulary: Vocabulary) -> Batch:
    positions = num_frames // 2
    return Batch(
        features=torch.zeros(num, NUM_MELS, num_frames),
        inputs=torch.full((num, length), vocabulary.end),
        targets=torch.full((num, length), IGNORED),
        heard=torch.zeros(num, length, positions),
        near=torch.zeros(num, length, positions),
        words=torch.zeros(num, positions, dtype=torch.long),
        previous_words=torch.zeros(num, positions, dtype=torch.long),
        frame_weight=torch.full((num, positions), _SILENCE_WEIGHT),
    )


def _fill_audio(
    batch: Batch,
    row: int,
    window: Window,
    mel: torch.Tensor,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> None:
    if rng.random() < 0.5:  # a band of frequencies is missing
        low = int(rng.integers(NUM_MELS - 8))
        mel[low : low + int(rng.integers(8))] = mel.mean()
    batch.features[row, :, : mel.shape[1]] = mel
    batch.frame_weight[row, : mel.shape[1] // 2] = 1
    numbers = {word: number for number, word in enumerate(vocabulary.words, start=1)}
    before = 0
    for word in (word for sentence in window.sentences for word in sentence):
        first = round(word.start_ms / _POSITION_MS)
        stop = max(round(word.end_ms / _POSITION_MS), first + 1)
        batch.words[row, first:stop] = numbers[word.text]
        batch.previous_words[row, first:stop] = before
        before = numbers[word.text]


def _fill_targets(
    batch: Batch, row: int, targets: list[Target], prompt: int, vocabulary: Vocabulary
) -> None:
    tokens = [vocabulary.start, vocabulary.no_timestamps][:prompt] + [t.token for t in targets]
    batch.inputs[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
    batch.targets[row, prompt - 1 : len(tokens) - 1] = torch.tensor(tokens[prompt:])
    positions = batch.heard.shape[2]
    for position, target in enumerate(targets, start=prompt - 1):
        if target.span is None:
            continue
        first = max(0, min(positions - 1, round(target.span[0])))
        stop = max(first + 1, min(positions, round(target.span[1])))
        batch.near[row, position, max(0, first - 2) : stop + 2] = 1
        batch.heard[row, position, first:stop] = 1 / (stop - first)
        rest = min(positions, int(target.pause)) if target.pause else 0
        if rest > stop:  # lets the alignment wait in the pause instead of starting the next word
            batch.heard[row, position, first:stop] *= 0.88
            batch.heard[row, position, stop:rest] = 0.12 / (rest - stop)
