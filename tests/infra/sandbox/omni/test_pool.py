import numpy as np
import pytest
import torch

from infra.sandbox.omni.build import FRAME_SIZE, build_processor
from infra.sandbox.omni.material import FacePiece, VoicePiece, WordsPiece
from infra.sandbox.omni.pool import Pool, RowMaker, face_tensors, voice_tensors
from infra.sandbox.omni.questions import CUES, all_texts, cue_question, waver_questions
from tasks.prompting.model_input import InputConfig, make_input, to_model_row
from tasks.prompting.prompt import prompt_names


@pytest.fixture(scope="module")
def processor():
    return build_processor(list(all_texts()))


@pytest.fixture(scope="module")
def pieces():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (5, 48, 64, 3), np.uint8)
    audio = rng.normal(0, 0.1, 40_123).astype(np.float32)
    return FacePiece(frames=frames, is_positive=True), VoicePiece(audio=audio, is_positive=False)


def make_pool(processor, pieces) -> Pool:
    face, voice = pieces
    return Pool(
        faces=[face_tensors(processor, face)],
        voices=[voice_tensors(processor, voice)],
        words=[WordsPiece(text="i am sure", is_positive=True)],
    )


def test_a_joined_row_is_what_the_processor_makes_of_the_same_segment(processor, pieces) -> None:
    pool, (face, voice) = make_pool(processor, pieces), pieces
    config = InputConfig(
        min_pixels=FRAME_SIZE["shortest_edge"], max_pixels=FRAME_SIZE["longest_edge"]
    )
    expected = to_model_row(
        processor, make_input(config, frames=face.frames, audio=voice.audio, transcript="i am sure")
    )
    question = waver_questions()[prompt_names().index(config.prompt)]
    maker = RowMaker(processor.tokenizer, pool)
    row = maker.join(question, pool.faces[0], pool.voices[0], "i am sure")
    assert row.keys() == expected.keys()
    assert row["input_ids"].tolist() == expected["input_ids"].tolist()
    for name, values in expected.items():
        torch.testing.assert_close(row[name], values, atol=2e-3, rtol=2e-3)


def test_each_cue_s_question_is_answered_by_that_cue_alone(processor, pieces) -> None:
    maker = RowMaker(processor.tokenizer, make_pool(processor, pieces))
    rng = np.random.default_rng(0)
    answers = {cue: maker.make(cue_question(cue, quotes_words=True), rng).is_yes for cue in CUES}
    assert answers == {"face": True, "voice": False, "words": True}


def test_waver_s_prompts_are_answered_by_lot(processor, pieces) -> None:
    maker = RowMaker(processor.tokenizer, make_pool(processor, pieces))
    rng = np.random.default_rng(0)
    answers = [
        maker.make(question, rng).is_yes for question in waver_questions() for _ in range(100)
    ]
    assert 0.4 < np.mean(answers) < 0.6
