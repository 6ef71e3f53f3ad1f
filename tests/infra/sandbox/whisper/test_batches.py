from pathlib import Path

import numpy as np
import pytest
import torch

from infra.sandbox.espeak import SpokenWord
from infra.sandbox.sentences import WORDS
from infra.sandbox.speech import TRAIN_VOICES
from infra.sandbox.whisper.bank import write_bank
from infra.sandbox.whisper.batches import (
    IGNORED,
    NUM_MELS,
    Batch,
    Batches,
    bend,
    draw_targets,
)
from infra.sandbox.whisper.schedule import NUM_STEPS
from infra.sandbox.whisper.vocabulary import Vocabulary, build_tokenizer, read_vocabulary
from infra.sandbox.whisper.windows import Window


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return read_vocabulary(build_tokenizer(WORDS), WORDS)


@pytest.fixture(scope="module")
def bank_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bank")
    write_bank(folder, 4, 0, TRAIN_VOICES[:1])
    return folder


def message(text: str, start_ms: int, end_ms: int) -> SpokenWord:
    return SpokenWord(text=text, start_ms=start_ms, end_ms=end_ms)


TWO_SENTENCES = Window(
    samples=np.zeros(48_000, np.float32),
    sentences=((message("i", 200, 300), message("will", 300, 600)), (message("yes", 2000, 2400),)),
)


def test_without_timestamps_the_targets_are_the_words_and_the_end(vocabulary: Vocabulary) -> None:
    targets, prompt = draw_targets(TWO_SENTENCES, vocabulary, with_times=False)
    words = [vocabulary.words[word] for word in ("i", "will", "yes")]
    assert prompt == 2
    assert [t.token for t in targets] == [*words, vocabulary.end]
    assert targets[1].span == (15, 30)
    assert targets[1].pause == 99
    assert targets[0].pause is None


def test_with_timestamps_every_sentence_lies_between_its_times(vocabulary: Vocabulary) -> None:
    targets, prompt = draw_targets(TWO_SENTENCES, vocabulary, with_times=True)
    times = [t.token - vocabulary.first_time for t in targets]
    assert prompt == 1
    assert [times[0], times[3], times[4], times[6]] == [10, 30, 100, 120]


def test_a_window_without_speech_is_answered_with_no_speech(vocabulary: Vocabulary) -> None:
    empty = Window(samples=np.zeros(16_000, np.float32), sentences=())
    tokens = {t: [x.token for x in draw_targets(empty, vocabulary, t)[0]] for t in (True, False)}
    assert tokens == {True: [vocabulary.no_speech, vocabulary.end], False: [vocabulary.end]}


def first_batches(
    bank_path: Path, vocabulary: Vocabulary, first_step: int, num: int
) -> list[Batch]:
    batches = Batches((bank_path, bank_path), vocabulary, 3)
    return [batches[first_step + index] for index in range(num)]


def test_what_is_heard_is_a_distribution_wherever_there_is_a_target(
    bank_path: Path, vocabulary: Vocabulary
) -> None:
    (batch,) = first_batches(bank_path, vocabulary, 0, 1)
    sums = batch.heard.sum(-1)
    assert torch.all((sums == 0) | torch.isclose(sums, torch.ones(())))
    assert torch.all(batch.targets[sums > 0] != IGNORED)
    assert torch.all(batch.near[batch.heard > 0.1] == 1)
    assert batch.features.shape[2] == 2 * batch.words.shape[1]
    assert batch.words.max() <= len(WORDS)
    has_target = batch.targets != IGNORED
    following = batch.inputs[:, 1:][has_target[:, :-1] & (batch.targets[:, :-1] != vocabulary.end)]
    answers = batch.targets[:, :-1][has_target[:, :-1] & (batch.targets[:, :-1] != vocabulary.end)]
    assert torch.equal(following, answers)


def test_a_continued_training_sees_what_an_undisturbed_one_would_have_seen(
    bank_path: Path, vocabulary: Vocabulary
) -> None:
    undisturbed = first_batches(bank_path, vocabulary, 0, 3)[2]
    (continued,) = first_batches(bank_path, vocabulary, 2, 1)
    assert torch.equal(undisturbed.features, continued.features)
    assert torch.equal(undisturbed.targets, continued.targets)


def test_there_is_no_batch_after_the_last_step(bank_path: Path, vocabulary: Vocabulary) -> None:
    with pytest.raises(IndexError):
        first_batches(bank_path, vocabulary, NUM_STEPS, 1)


def test_bending_moves_a_resonance_a_little_and_keeps_silence_silent() -> None:
    mel = torch.full((NUM_MELS, 3), -1.5)
    mel[40] = 1.0
    peaks = set()
    for seed in range(30):
        bent = bend(mel, np.random.default_rng(seed))
        assert bent.shape == mel.shape
        assert bent[:20].max() < -1.0
        peaks.add(int(bent[:, 0].argmax()))
    assert min(peaks) < 40 < max(peaks)
    assert all(abs(peak - 40) <= 5 for peak in peaks)
