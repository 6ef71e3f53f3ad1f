import re
from collections import Counter

import numpy as np

from infra.sandbox.sentences import SENTIMENTS, WORDS, draw_sentence


def test_every_sampled_word_is_in_the_vocabulary_and_in_plain_letters() -> None:
    rng = np.random.default_rng(0)
    words = {word for _ in range(800) for word in draw_sentence(rng).text.split()}
    assert words == set(WORDS)
    assert all(re.fullmatch("[a-z]+", word) for word in WORDS)


def test_sentiments_are_sampled_evenly_unless_one_is_requested() -> None:
    rng = np.random.default_rng(1)
    counts = Counter(draw_sentence(rng).sentiment for _ in range(900))
    assert set(counts) == set(SENTIMENTS)
    assert min(counts.values()) > 230
    assert {draw_sentence(rng, "negative").sentiment for _ in range(20)} == {"negative"}


def test_no_sentence_belongs_to_two_sentiments() -> None:
    rng = np.random.default_rng(2)
    sentences = {s: {draw_sentence(rng, s).text for _ in range(500)} for s in SENTIMENTS}
    assert not sentences["positive"] & sentences["negative"]
    assert not sentences["neutral"] & (sentences["positive"] | sentences["negative"])
