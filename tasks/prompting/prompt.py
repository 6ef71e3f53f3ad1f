"""The prompt for one segment, and the single token that answers it.

A prompt is a text file under ``prompts/``: the instruction, then ``{media}`` (video and audio),
then optionally one line with ``{transcript_before}`` (the speech before the segment) and one with
``{transcript}``. The instruction comes first, which gives all requests of a run one common prefix.
The chat format is ChatML with the Qwen3-Omni markers
(https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct, ``chat_template.json``), without a system
turn. A prompt's text is part of a result's identity, see `prompt_digest`.
"""

import hashlib
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from storage.errors import ConfigError, ModelError

ANSWER_YES = "Yes"
ANSWER_NO = "No"
ANSWER_TAG = "<answer>"

AnswerFormat = Literal["word", "tag"]

VIDEO_MARKER = "<|vision_start|><|video_pad|><|vision_end|>"
AUDIO_MARKER = "<|audio_start|><|audio_pad|><|audio_end|>"
EMPTY_TRANSCRIPT = "(no words)"

_TRANSCRIPT, _TRANSCRIPT_BEFORE = "{transcript}", "{transcript_before}"
_QUOTES = (_TRANSCRIPT_BEFORE, _TRANSCRIPT)
_PLACEHOLDER = re.compile(r"\{(?:media|transcript|transcript_before)\}")
_PROMPTS_PATH = Path(__file__).parent / "prompts"


class AnswerTokenIds(NamedTuple):
    """The token ids of the two answers."""

    yes: int
    no: int


def prompt_names() -> list[str]:
    """List the prompts that ``input.prompt`` accepts."""
    return sorted(path.stem for path in _PROMPTS_PATH.glob("*.txt"))


@cache
def prompt_text(name: str) -> str:
    """Read a prompt's template and check its placeholders.

    Raises:
        ConfigError: the name is unknown, or a placeholder is misplaced.
    """
    if name not in prompt_names():
        raise ConfigError(
            f"Unknown prompt {name!r}: expected one of {', '.join(prompt_names())}, "
            "or a new text file in tasks/prompting/prompts."
        )
    text = (_PROMPTS_PATH / f"{name}.txt").read_text(encoding="utf-8").strip()
    check_placeholders(name, text)
    return text


def check_placeholders(name: str, text: str) -> None:
    """Raise ConfigError if a template quotes speech before the media (no shared prefix)."""
    instruction, media, rest = text.partition("{media}")
    if not media or "{media}" in rest:
        raise ConfigError(f"Prompt {name!r} must contain {{media}} exactly once.")
    for quote in _QUOTES:
        if quote in instruction or rest.count(quote) > 1:
            raise ConfigError(
                f"Prompt {name!r} may contain {quote} once, and only after {{media}}."
            )
    if any(all(quote in line for quote in _QUOTES) for line in rest.splitlines()):
        raise ConfigError(
            f"Prompt {name!r} must have {_TRANSCRIPT_BEFORE} and {_TRANSCRIPT} on separate lines."
        )


def prompt_digest(name: str) -> str:
    """Digest the prompt's text, which makes an edited prompt a new variant."""
    return hashlib.sha256(prompt_text(name).encode()).hexdigest()[:16]


def quotes_transcript(name: str) -> bool:
    """Return whether the prompt quotes the segment's transcript or the speech before it."""
    return any(quote in prompt_text(name) for quote in _QUOTES)


def quotes_transcript_before(name: str) -> bool:
    """Return whether the prompt quotes the speech before the segment."""
    return _TRANSCRIPT_BEFORE in prompt_text(name)


def render_chat(
    name: str,
    *,
    video: bool,
    audio: bool,
    transcript: str | None,
    transcript_before: str = "",
    answer: AnswerFormat = "word",
) -> str:
    """Render a named prompt as `fill_in` does."""
    return fill_in(
        prompt_text(name),
        video=video,
        audio=audio,
        transcript=transcript,
        transcript_before=transcript_before,
        answer=answer,
    )


def fill_in(
    template: str,
    *,
    video: bool,
    audio: bool,
    transcript: str | None,
    transcript_before: str = "",
    answer: AnswerFormat = "word",
) -> str:
    """Render a template as a whole chat, up to the position of the answer token.

    ``transcript=None`` removes both quoting lines; an empty string renders as `EMPTY_TRANSCRIPT`. A
    blank ``transcript_before`` removes its line. The paper's answers have the form
    ``<answer>Yes</answer>`` (``tag``): the chat then ends in the opening tag, so the answer token
    comes first in both formats.
    """
    media = VIDEO_MARKER * video + AUDIO_MARKER * audio
    body = user_turn(
        template, media=media, transcript=transcript, transcript_before=transcript_before
    )
    answer_prefix = ANSWER_TAG if answer == "tag" else ""
    return f"<|im_start|>user\n{body}<|im_end|>\n<|im_start|>assistant\n{answer_prefix}"


def user_turn(
    template: str, *, media: str, transcript: str | None, transcript_before: str = ""
) -> str:
    """Fill in a template's placeholders; ``media`` is the text that stands for video and audio."""
    values = {"{media}": media}
    if transcript is not None:
        values[_TRANSCRIPT] = _quoted(transcript)
        if transcript_before.strip():
            values[_TRANSCRIPT_BEFORE] = _quoted(transcript_before)
    lines = [
        line
        for line in template.splitlines()
        if not any(quote in line and quote not in values for quote in _QUOTES)
        and not (line == "{media}" and not media)
    ]
    # A single pass: placeholders inside a transcript are not expanded.
    return _PLACEHOLDER.sub(lambda found: values[found[0]], "\n".join(lines))


def _quoted(transcript: str) -> str:
    """Join a transcript into one line that cannot contain a ChatML marker."""
    line = " ".join(transcript.split())
    while "<|" in line or "|>" in line:
        line = line.replace("<|", "<").replace("|>", ">")
    return line or EMPTY_TRANSCRIPT


def answer_text(label: int | None, answer: AnswerFormat) -> str:
    """Return the assistant's full reply for a segment with this label."""
    word = ANSWER_YES if label == 1 else ANSWER_NO
    return f"{ANSWER_TAG}{word}</{ANSWER_TAG[1:]}" if answer == "tag" else word


def answer_token_ids(tokenizer: Any) -> AnswerTokenIds:
    """Look up the tokens of Yes and No.

    Raises:
        ModelError: the tokenizer splits an answer into several tokens.
    """
    ids = []
    for word in (ANSWER_YES, ANSWER_NO):
        encoded = tokenizer.encode(word, add_special_tokens=False)
        if len(encoded) != 1:
            raise ModelError(
                f"The model's tokenizer splits the answer {word!r} into {len(encoded)} tokens: "
                "expected one. Use a model of the Qwen3-Omni family."
            )
        ids.append(int(encoded[0]))
    return AnswerTokenIds(*ids)


def p_ah(logp_yes: float, logp_no: float) -> float:
    """Compute the probability of A/H: P(Yes) normalized over Yes and No."""
    margin = logp_yes - logp_no
    if margin >= 0:
        return 1.0 / (1.0 + math.exp(-margin))
    return math.exp(margin) / (1.0 + math.exp(margin))
