"""Sentences of the sandbox's participants: a small grammar about changing a health behavior.

A sentence's sentiment is in its words alone; the voice stance is sampled separately.
Words are lower case, without punctuation or homophones: each is one token, and transcripts can be
compared word for word.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Sentiment = Literal["positive", "negative", "neutral"]
SENTIMENTS: tuple[Sentiment, ...] = get_args(Sentiment)

ACTIONS = (
    "quit smoking",
    "go for a walk",
    "eat more vegetables",
    "sleep earlier",
    "drink less coffee",
    "take my medicine",
    "go to the gym",
    "call my doctor",
    "drink more water",
    "cut down on sugar",
    "ride my bike to work",
    "stop drinking",
    "cook at home",
)
TIMES = (
    "today",
    "tomorrow",
    "next week",
    "every day",
    "this month",
    "every morning",
    "after work",
    "at the weekend",
)
TEMPLATES: dict[Sentiment, tuple[str, ...]] = {
    "positive": (
        "i will {action} {time}",
        "i am sure i can {action}",
        "yes i really want to {action}",
        "i feel good when i {action}",
        "i am happy to {action} {time}",
        "i know i can {action} {time}",
        "i am ready to {action} {time}",
        "i decided to {action} and i feel great",
        "it is important to me to {action}",
        "i love to {action} {time}",
        "nothing will stop me now",
        "i am proud of me and i will {action}",
        "yes definitely i am going to {action}",
    ),
    "negative": (
        "i do not want to {action}",
        "it is hard to {action} {time}",
        "i am not sure i can {action}",
        "um maybe i could {action} {time}",
        "i am afraid to {action}",
        "i hate to {action} {time}",
        "i feel bad when i {action}",
        "i am tired and i can not {action}",
        "i guess i should {action} but i keep waiting",
        "well i do not know if i can {action}",
        "part of me never wants to {action}",
        "i suppose i could {action} but it is hard",
        "perhaps i will try to {action} {time}",
    ),
    "neutral": (
        "my doctor told me to {action}",
        "last year i tried to {action}",
        "my family asked me to {action} {time}",
        "we talked about it at the clinic",
        "i live near the park",
        "it was a long week at work",
        "my sister asked if i {action} {time}",
        "people say it helps to {action}",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """The text of a sentence, and its sentiment."""

    text: str
    sentiment: Sentiment


def draw_sentence(rng: np.random.Generator, sentiment: Sentiment | None = None) -> Sentence:
    """Draw a sentence of a sentiment, by default of any with equal probability."""
    chosen = sentiment or SENTIMENTS[rng.integers(len(SENTIMENTS))]
    template = TEMPLATES[chosen][rng.integers(len(TEMPLATES[chosen]))]
    action = ACTIONS[rng.integers(len(ACTIONS))]
    time = TIMES[rng.integers(len(TIMES))]
    return Sentence(text=template.format(action=action, time=time), sentiment=chosen)


def _vocabulary() -> tuple[str, ...]:
    templates = [t.format(action="", time="") for group in TEMPLATES.values() for t in group]
    return tuple(sorted({word for text in (*templates, *ACTIONS, *TIMES) for word in text.split()}))


WORDS = _vocabulary()
"""The vocabulary of all sentences, sorted."""
