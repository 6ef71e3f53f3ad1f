"""The question put to the model about one segment, and the one token that answers it.

A prompt is a text file under ``prompts/``: the instruction, then ``{media}`` where picture and
sound go in, then at most one line with ``{before}``, what was said before the segment, and one with
``{words}``. The instruction comes first, so that every request of a run shares one prefix. The chat
format is ChatML with the Qwen3-Omni markers
(https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct, ``chat_template.json``), without a system
turn. A prompt's text is part of a result's identity: see ``prompt_digest``.
"""

import hashlib
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

from storage.errors import ConfigError, ModelError

ANSWER_YES = "Yes"
ANSWER_NO = "No"
ANSWER_TAG = "<answer>"

AnswerFormat = Literal["word", "tag"]

VIDEO_MARKER = "<|vision_start|><|video_pad|><|vision_end|>"
AUDIO_MARKER = "<|audio_start|><|audio_pad|><|audio_end|>"
NO_WORDS = "(no words)"

_QUOTES = ("{before}", "{words}")
_PLACEHOLDER = re.compile(r"\{(?:media|before|words)\}")
_PROMPTS_PATH = Path(__file__).parent / "prompts"


def prompt_names() -> list[str]:
    """The prompts that a setting may name."""
    return sorted(path.stem for path in _PROMPTS_PATH.glob("*.txt"))


@cache
def prompt_text(name: str) -> str:
    """The prompt file's text, its placeholders checked; raises ConfigError for an unknown name."""
    if name not in prompt_names():
        raise ConfigError(
            f"Unknown prompt {name!r}: expected one of {', '.join(prompt_names())}, "
            "or a further text file in tasks/prompting/prompts."
        )
    text = (_PROMPTS_PATH / f"{name}.txt").read_text(encoding="utf-8").strip()
    check_placeholders(name, text)
    return text


def check_placeholders(name: str, text: str) -> None:
    """Refuse a prompt that quotes before the media, where words break the shared prefix."""
    opening, mark, rest = text.partition("{media}")
    if not mark or "{media}" in rest:
        raise ConfigError(f"Prompt {name!r} must hold {{media}} exactly once.")
    for quote in _QUOTES:
        if quote in opening or rest.count(quote) > 1:
            raise ConfigError(f"Prompt {name!r} may hold {quote} once, and only after {{media}}.")
    if any(all(quote in line for quote in _QUOTES) for line in rest.splitlines()):
        raise ConfigError(f"Prompt {name!r} must hold {{before}} and {{words}} on lines apart.")


def prompt_digest(name: str) -> str:
    """A short digest of the prompt's text, so that an edited prompt makes a new variant."""
    return hashlib.sha256(prompt_text(name).encode()).hexdigest()[:16]


def uses_words(name: str) -> bool:
    """Whether the prompt quotes the segment's words, or those before it."""
    return any(quote in prompt_text(name) for quote in _QUOTES)


def uses_words_before(name: str) -> bool:
    """Whether the prompt quotes what was said before the segment."""
    return "{before}" in prompt_text(name)


def render_chat(
    name: str,
    *,
    video: bool,
    audio: bool,
    transcript: str | None,
    before: str = "",
    answer: AnswerFormat = "word",
) -> str:
    """The named prompt as a whole chat, up to the position of the answer."""
    template = prompt_text(name)
    return fill_in(
        template, video=video, audio=audio, transcript=transcript, before=before, answer=answer
    )


def fill_in(
    template: str,
    *,
    video: bool,
    audio: bool,
    transcript: str | None,
    before: str = "",
    answer: AnswerFormat = "word",
) -> str:
    """A prompt's text as a whole chat, up to the position of the answer.

    ``transcript=None`` leaves out the lines that quote them and those before; an empty string says that
    nothing was said. Where nothing was said before, the line that would quote it is left out.
    The paper's answers are of the form ``<answer>Yes</answer>`` (tag): the tag's opening is then
    the chat's last part, so that the answer's word comes first here too.
    """
    media = VIDEO_MARKER * video + AUDIO_MARKER * audio
    body = user_turn(template, media=media, transcript=transcript, before=before)
    started = ANSWER_TAG if answer == "tag" else ""
    return f"<|im_start|>user\n{body}<|im_end|>\n<|im_start|>assistant\n{started}"


def user_turn(template: str, *, media: str, transcript: str | None, before: str = "") -> str:
    """A prompt's text as the user says it, with what stands for picture and sound put in."""
    put = {"{media}": media}
    if transcript is not None:
        put["{words}"] = _quoted(transcript)
        if before.strip():
            put["{before}"] = _quoted(before)
    lines = [
        line
        for line in template.splitlines()
        if not any(quote in line and quote not in put for quote in _QUOTES)
        and not (line == "{media}" and not media)
    ]
    # In one pass: what is put in is never looked through.
    return _PLACEHOLDER.sub(lambda found: put[found[0]], "\n".join(lines))


def _quoted(transcript: str) -> str:
    """Words on one line, in which nothing can be mistaken for a marker of the chat format."""
    line = " ".join(transcript.split())
    while "<|" in line or "|>" in line:
        line = line.replace("<|", "<").replace("|>", ">")
    return line or NO_WORDS


def answer_text(label: int | None, answer: AnswerFormat) -> str:
    """What the assistant says in full about a segment with this label."""
    word = ANSWER_YES if label == 1 else ANSWER_NO
    return f"{ANSWER_TAG}{word}</{ANSWER_TAG[1:]}" if answer == "tag" else word


def answer_token_ids(tokenizer: Any) -> tuple[int, int]:
    """The ids of Yes and No; raises ModelError where an answer is not exactly one token."""
    ids = []
    for word in (ANSWER_YES, ANSWER_NO):
        encoded = tokenizer.encode(word, add_special_tokens=False)
        if len(encoded) != 1:
            raise ModelError(
                f"The model's tokenizer splits the answer {word!r} into {len(encoded)} tokens: "
                "expected one. Use a model of the Qwen3-Omni family."
            )
        ids.append(int(encoded[0]))
    return ids[0], ids[1]


def p_ah(logp_yes: float, logp_no: float) -> float:
    """The probability of A/H: Yes and No's log-probabilities renormalised over the two of them."""
    margin = logp_yes - logp_no
    if margin >= 0:
        return 1.0 / (1.0 + math.exp(-margin))
    return math.exp(margin) / (1.0 + math.exp(margin))
