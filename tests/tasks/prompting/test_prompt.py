import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import ConfigError, ModelError
from tasks.prompting.prompt import (
    AUDIO_MARKER,
    EMPTY_TRANSCRIPT,
    VIDEO_MARKER,
    answer_text,
    answer_token_ids,
    check_placeholders,
    p_ah,
    prompt_digest,
    prompt_names,
    prompt_text,
    quotes_transcript,
    render_chat,
)


class LettersTokenizer:
    """One token for each of the known words, one for each letter of any other."""

    def __init__(self, *known: str) -> None:
        self.known = list(known)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [self.known.index(text)] if text in self.known else [ord(c) for c in text]


def test_every_prompt_has_the_instruction_first_and_media_before_the_transcript() -> None:
    for name in prompt_names():
        chat = render_chat(name, video=True, audio=True, transcript="i am sure")
        instruction, media, rest = chat.partition(VIDEO_MARKER + AUDIO_MARKER)
        assert media
        assert "Yes or No" in instruction
        assert instruction.startswith("<|im_start|>user\n")
        assert rest.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert ("i am sure" in rest) == quotes_transcript(name)


def test_everything_before_the_media_is_common_to_all_segments() -> None:
    first = render_chat("definition-transcript", video=True, audio=True, transcript="yes")
    second = render_chat("definition-transcript", video=True, audio=True, transcript="no never")
    assert first.partition(VIDEO_MARKER)[0] == second.partition(VIDEO_MARKER)[0]


def test_a_transcript_switched_off_differs_from_an_empty_one() -> None:
    off = render_chat("definition-transcript", video=True, audio=True, transcript=None)
    silent = render_chat("definition-transcript", video=True, audio=True, transcript="")
    assert off == render_chat("definition", video=True, audio=True, transcript=None)
    off = render_chat(
        "definition-context", video=True, audio=True, transcript=None, transcript_before="I may"
    )
    assert off == render_chat("definition", video=True, audio=True, transcript=None)
    assert EMPTY_TRANSCRIPT in silent


def test_the_speech_before_is_quoted_between_the_media_and_the_transcript() -> None:
    texts = {"transcript": "yes but", "transcript_before": "I want to\n"}
    chat = render_chat("definition-context", video=True, audio=True, **texts)
    plain = render_chat("definition-transcript", video=True, audio=True, transcript="yes but")
    before_line, transcript_line = prompt_text("definition-context").splitlines()[-2:]
    line = before_line.format(transcript_before="I want to") + "\n"
    assert chat.replace(line, "") == plain
    assert (
        chat.index(AUDIO_MARKER)
        < chat.index(line)
        < chat.index(transcript_line.format(transcript="yes but"))
    )


@pytest.mark.parametrize("transcript_before", ["", " \n"])
def test_blank_speech_before_leaves_no_line(transcript_before: str) -> None:
    texts = {"transcript": "yes but", "transcript_before": transcript_before}
    assert render_chat("definition-context", video=True, audio=True, **texts) == render_chat(
        "definition-transcript", video=True, audio=True, transcript="yes but"
    )


@pytest.mark.parametrize("name", ["definition", "definition-transcript", "paper"])
@pytest.mark.parametrize("words", [None, "", "i am sure"])
def test_a_prompt_that_does_not_quote_the_speech_before_ignores_it(
    name: str, words: str | None
) -> None:
    lines = prompt_text(name).replace("{media}", VIDEO_MARKER).splitlines()
    if words is None:
        lines = [line for line in lines if "{transcript}" not in line]
    body = "\n".join(lines).replace("{transcript}", words or EMPTY_TRANSCRIPT)
    assert render_chat(
        name, video=True, audio=False, transcript=words, transcript_before="I may"
    ) == (f"<|im_start|>user\n{body}<|im_end|>\n<|im_start|>assistant\n")


def test_absent_media_leaves_no_marker_and_no_empty_line() -> None:
    chat = render_chat("definition-transcript", video=False, audio=False, transcript="well")
    assert "pad|>" not in chat
    assert "\n\n" not in chat


@given(st.text(alphabet="<|>im_endstart vopa\n", max_size=40))
def test_a_transcript_can_never_forge_a_marker(words: str) -> None:
    plain = render_chat(
        "definition-context", video=True, audio=True, transcript="x", transcript_before="x"
    )
    chat = render_chat(
        "definition-context",
        video=True,
        audio=True,
        transcript=words,
        transcript_before=f"x{words}",
    )
    assert chat.count("<|") == plain.count("<|")
    assert chat.count("\n") == plain.count("\n")


def test_placeholders_inside_a_transcript_are_not_expanded() -> None:
    chat = render_chat(
        "definition-transcript", video=True, audio=False, transcript="{media} {transcript}"
    )
    assert chat.count(VIDEO_MARKER) == 1
    texts = {
        "transcript": "{transcript_before} {media}",
        "transcript_before": "{transcript} {media}",
    }
    chat = render_chat("definition-context", video=True, audio=False, **texts)
    assert chat.count(VIDEO_MARKER) == 1
    assert ": {transcript} {media}\n" in chat
    assert ": {transcript_before} {media}<" in chat


def test_an_unknown_prompt_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="definition-transcript"):
        prompt_digest("poem")


@pytest.mark.parametrize(
    "text",
    [
        "no media",
        "{media} {media}",
        "{transcript} {media}",
        "{transcript_before} {media}",
        "{media} {transcript_before} {transcript_before}",
    ],
)
def test_a_prompt_without_a_common_prefix_is_rejected(text: str) -> None:
    with pytest.raises(ConfigError, match="media"):
        check_placeholders("draft", text)


def test_one_line_with_both_quotes_is_rejected() -> None:
    check_placeholders("draft", "{media}\n{transcript}\n{transcript_before}")
    with pytest.raises(ConfigError, match="on separate lines"):
        check_placeholders("draft", "{media}\n{transcript_before} {transcript}")


def test_the_paper_s_answer_tag_is_opened_in_the_prompt() -> None:
    plain = render_chat("paper", video=True, audio=True, transcript=None)
    tagged = render_chat("paper", video=True, audio=True, transcript=None, answer="tag")
    assert plain.endswith("<|im_start|>assistant\n")
    assert tagged == plain + "<answer>"
    assert [answer_text(label, "tag") for label in (1, 0)] == [
        "<answer>Yes</answer>",
        "<answer>No</answer>",
    ]
    assert [answer_text(label, "word") for label in (1, 0)] == ["Yes", "No"]


def test_answers_of_several_tokens_are_rejected() -> None:
    assert answer_token_ids(LettersTokenizer("Yes", "No")) == (0, 1)
    with pytest.raises(ModelError, match="3 tokens"):
        answer_token_ids(LettersTokenizer("No"))


@given(st.floats(-80, 0), st.floats(-80, 0))
def test_p_ah_is_the_softmax_of_two_log_probabilities(yes: float, no: float) -> None:
    assert 0.0 <= p_ah(yes, no) <= 1.0
    assert math.isclose(p_ah(yes, no) + p_ah(no, yes), 1.0)
    assert math.isclose(p_ah(yes, no), math.exp(yes) / (math.exp(yes) + math.exp(no)), rel_tol=1e-9)
