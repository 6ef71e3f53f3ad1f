import pytest

from infra.sandbox.omni.questions import all_texts
from infra.sandbox.omni.tokenizer import MARKERS, train_tokenizer
from infra.sandbox.sentences import WORDS
from tasks.prompting.prompt import answer_token_ids, prompt_names, render_chat


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(list(all_texts()), max_tokens=512)


def test_every_word_of_the_vocabulary_is_one_token(tokenizer) -> None:
    assert all(len(tokenizer.encode(f" {word}")) == 1 for word in WORDS)


def test_both_answers_and_every_marker_are_one_token_each(tokenizer) -> None:
    ids = {*answer_token_ids(tokenizer), *tokenizer.convert_tokens_to_ids(list(MARKERS))}
    assert len(ids) == 2 + len(MARKERS)
    assert all(len(tokenizer.encode(mark)) == 1 for mark in MARKERS)


def test_waver_s_prompts_come_back_unchanged(tokenizer) -> None:
    for name in prompt_names():
        chat = render_chat(name, video=True, audio=True, transcript="i am sure")
        assert tokenizer.decode(tokenizer.encode(chat)) == chat


def test_text_never_seen_is_spelt_out_and_not_lost(tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("Äpfel & 東京")) == "Äpfel & 東京"
