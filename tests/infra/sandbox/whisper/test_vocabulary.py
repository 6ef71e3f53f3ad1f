import pytest

from infra.sandbox.sentences import WORDS
from infra.sandbox.whisper.vocabulary import NUM_TIMES, build_tokenizer, read_vocabulary


def test_every_word_of_the_sandbox_is_one_token_of_its_own() -> None:
    tokenizer = build_tokenizer(WORDS)
    vocabulary = read_vocabulary(tokenizer, WORDS)
    assert len(set(vocabulary.words.values())) == len(WORDS)
    text = " i am not sure"
    assert tokenizer.encode(text).ids == [vocabulary.words[word] for word in text.split()]
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_timestamps_are_the_last_tokens_right_after_no_timestamps() -> None:
    vocabulary = read_vocabulary(build_tokenizer(WORDS), WORDS)
    assert vocabulary.first_time == vocabulary.no_timestamps + 1
    assert vocabulary.size == vocabulary.first_time + NUM_TIMES


def test_any_text_can_be_encoded() -> None:
    tokenizer = build_tokenizer(["yes"])
    for text in (" -", " '", "♪ Ünknown 7"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_word_that_cannot_be_one_token_is_named() -> None:
    with pytest.raises(ValueError, match="two words"):
        build_tokenizer(["two words"])
