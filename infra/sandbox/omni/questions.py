"""Prompts of the base model's pretraining: questions on three cues, and Waver's own prompts.

Waver's prompts get random answers: the base model knows their words and layout, but fine-tuning
starts at chance on them and alone teaches disagreement.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from infra.sandbox.sentences import WORDS
from tasks.prompting.prompt import (
    ANSWER_NO,
    ANSWER_YES,
    EMPTY_TRANSCRIPT,
    fill_in,
    prompt_names,
    prompt_text,
)

CUES = ("face", "voice", "words")
WORDS_LINE = "\nThe person says: {transcript}"

_QUESTIONS = {
    "face": "Does the face look positive in this part of the video?",
    "voice": "Does the voice sound positive in this part of the video?",
    "words": "Are the words positive in this part of the video?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt and the cue that answers it; ``cue`` is ``None`` if the answer is random."""

    template: str
    cue: str | None


def cue_question(cue: str, *, quotes_words: bool) -> Question:
    """Return the prompt for one cue, with or without the words."""
    opening = "You see and hear a person talking about changing a health behaviour."
    closing = "Answer with one word, Yes or No."
    template = f"{opening} {_QUESTIONS[cue]} {closing}\n{{media}}"
    return Question(template=template + WORDS_LINE * quotes_words, cue=cue)


def waver_questions() -> list[Question]:
    """Return every prompt that Waver ships."""
    return [Question(template=prompt_text(name), cue=None) for name in prompt_names()]


def all_texts() -> Iterator[str]:
    """Yield every text that the tokenizer must encode."""
    questions = [cue_question(cue, quotes_words=True) for cue in CUES] + waver_questions()
    for question in questions:
        yield fill_in(
            question.template,
            video=False,
            audio=False,
            transcript=EMPTY_TRANSCRIPT,
            transcript_before=EMPTY_TRANSCRIPT,
        )
    yield from (ANSWER_YES, ANSWER_NO)
    yield from (f" {word}" for word in WORDS)
