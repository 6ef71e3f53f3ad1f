import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import ConfigError, ModelError
from tasks.omni.prompt import (
    NO_WORDS,
    PICTURE_MARK,
    SOUND_MARK,
    answer_text,
    answer_token_ids,
    check_placeholders,
    p_ah,
    prompt_digest,
    prompt_names,
    render_chat,
    uses_words,
)


class LettersTokenizer:
    """One token for each of the known words, one for each letter of any other."""

    def __init__(self, *known: str) -> None:
        self.known = list(known)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [self.known.index(text)] if text in self.known else [ord(c) for c in text]


def test_every_shipped_prompt_asks_first_and_shows_media_before_words() -> None:
    for name in prompt_names():
        chat = render_chat(name, picture=True, sound=True, words="i am sure")
        question, media, rest = chat.partition(PICTURE_MARK + SOUND_MARK)
        assert media
        assert "Yes or No" in question
        assert question.startswith("<|im_start|>user\n")
        assert rest.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert ("i am sure" in rest) == uses_words(name)


def test_two_segments_share_everything_before_the_media() -> None:
    first = render_chat("definition-words", picture=True, sound=True, words="yes")
    second = render_chat("definition-words", picture=True, sound=True, words="no never")
    assert first.partition(PICTURE_MARK)[0] == second.partition(PICTURE_MARK)[0]


def test_words_switched_off_differ_from_words_not_said() -> None:
    off = render_chat("definition-words", picture=True, sound=True, words=None)
    silent = render_chat("definition-words", picture=True, sound=True, words="")
    assert off == render_chat("definition", picture=True, sound=True, words=None)
    assert NO_WORDS in silent


def test_absent_media_leave_no_marker_and_no_empty_line() -> None:
    chat = render_chat("definition-words", picture=False, sound=False, words="well")
    assert "pad|>" not in chat
    assert "\n\n" not in chat


@given(st.text(alphabet="<|>im_endstart vopa\n", max_size=40))
def test_words_can_never_forge_a_marker(words: str) -> None:
    plain = render_chat("definition-words", picture=True, sound=True, words="x")
    chat = render_chat("definition-words", picture=True, sound=True, words=words)
    assert chat.count("<|") == plain.count("<|")
    assert chat.count("\n") == plain.count("\n")


def test_placeholders_inside_the_words_are_left_alone() -> None:
    chat = render_chat("definition-words", picture=True, sound=False, words="{media} {words}")
    assert chat.count(PICTURE_MARK) == 1


def test_an_unknown_prompt_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="definition-words"):
        prompt_digest("poem")


@pytest.mark.parametrize("text", ["no media", "{media} {media}", "{words} {media}"])
def test_a_prompt_that_cannot_share_its_prefix_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="media"):
        check_placeholders("draft", text)


def test_the_paper_s_answer_is_begun_in_the_prompt_so_that_its_word_comes_first() -> None:
    plain = render_chat("paper", picture=True, sound=True, words=None)
    tagged = render_chat("paper", picture=True, sound=True, words=None, answer="tag")
    assert plain.endswith("<|im_start|>assistant\n")
    assert tagged == plain + "<answer>"
    assert [answer_text(label, "tag") for label in (1, 0)] == [
        "<answer>Yes</answer>",
        "<answer>No</answer>",
    ]
    assert [answer_text(label, "word") for label in (1, 0)] == ["Yes", "No"]


def test_answers_of_several_tokens_are_refused() -> None:
    assert answer_token_ids(LettersTokenizer("Yes", "No")) == (0, 1)
    with pytest.raises(ModelError, match="3 tokens"):
        answer_token_ids(LettersTokenizer("No"))


@given(st.floats(-80, 0), st.floats(-80, 0))
def test_p_ah_is_the_softmax_of_two_log_probabilities(yes: float, no: float) -> None:
    assert 0.0 <= p_ah(yes, no) <= 1.0
    assert math.isclose(p_ah(yes, no) + p_ah(no, yes), 1.0)
    assert math.isclose(p_ah(yes, no), math.exp(yes) / (math.exp(yes) + math.exp(no)), rel_tol=1e-9)
