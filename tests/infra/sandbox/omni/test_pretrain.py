from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import infra.sandbox
from infra.sandbox.omni.material import draw_faces, draw_voices, draw_words
from infra.sandbox.omni.pool import Pool, RowMaker, face_tensors, voice_tensors
from infra.sandbox.omni.pretrain import (
    DECAY_STEPS,
    LEARNING_RATE,
    LOWEST_FRACTION,
    draw_question,
    last_logits,
    learning_rate,
    perceive,
)
from infra.sandbox.omni.questions import waver_questions
from infra.sandbox.speech import HELD_OUT_VOICES
from tasks.model.model_folder import check_model
from tasks.prompting.prompt import answer_token_ids

BASE = Path(infra.sandbox.__file__).parent / "models" / "omni-base"
OTHER_PEOPLE = 4242


def test_the_learning_rate_rises_then_falls_and_stays_low() -> None:
    rates = [learning_rate(step) for step in range(1, DECAY_STEPS + 100)]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(LEARNING_RATE)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(LEARNING_RATE * LOWEST_FRACTION)


def test_all_cues_and_all_of_waver_s_prompts_are_used() -> None:
    rng = np.random.default_rng(0)
    questions = [draw_question(rng) for _ in range(800)]
    counts = Counter(question.cue for question in questions)
    assert set(counts) == {"face", "voice", "words", None}
    assert min(counts.values()) > 100
    assert {q.template for q in questions if q.cue is None} == {
        q.template for q in waver_questions()
    }


@pytest.fixture(scope="module")
def base():
    from transformers import AutoProcessor, Qwen3OmniMoeForConditionalGeneration

    folder = check_model(str(BASE))
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder)
    return model.thinker, AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def strangers(base):
    """Faces, voices and words that no training saw."""
    processor, rng = base[1], np.random.default_rng(OTHER_PEOPLE)
    faces = draw_faces(40, 40, rng, all_strong=True)
    voices = draw_voices(40, HELD_OUT_VOICES, rng, all_strong=True)
    return Pool(
        faces=[face_tensors(processor, piece) for piece in faces],
        voices=[voice_tensors(processor, piece) for piece in voices],
        words=draw_words(100, rng),
    )


@pytest.mark.slow
def test_the_shipped_base_perceives_each_cue_on_people_it_never_met(base, strangers) -> None:
    accuracy = perceive(*base, strangers, num_rows=200)
    assert min(accuracy.values()) >= 0.97, accuracy


@pytest.mark.slow
def test_the_shipped_base_starts_at_chance_on_every_prompt_of_waver(base, strangers) -> None:
    thinker, processor = base
    maker, rng = RowMaker(processor.tokenizer, strangers), np.random.default_rng(0)
    yes_id, no_id = answer_token_ids(processor.tokenizer)
    thinker.eval()
    for question in waver_questions():
        rows = [maker.make(question, rng) for _ in range(40)]
        with torch.no_grad():
            logits = last_logits(thinker, rows, processor.tokenizer.pad_token_id)
        chances = logits.softmax(-1)
        assert (chances[:, yes_id] + chances[:, no_id]).min() > 0.95
        p_ah = (logits[:, yes_id] - logits[:, no_id]).sigmoid()
        assert p_ah.min() > 0.2
        assert p_ah.max() < 0.8
