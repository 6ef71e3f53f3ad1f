"""Samples as rows of an ms-swift data set: the question, its media, and the one word that answers.

A row holds ``messages`` of the roles user and assistant, and ``videos`` and ``audios``, absolute
paths; each tag ``<video>`` and ``<audio>`` in the question stands for the next path of its list
(https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html). In the tags' place
ms-swift puts the markers that `tasks.prompting.prompt` puts there, so that the tokens are the same. The
answer's ``loss_scale`` is the weight of its class, where classes are weighted.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from storage.records import SampleRecord
from tasks.labels.class_plan import Plan, has_balanced_sampling, weights_of
from tasks.prompting.model_input import InputConfig
from tasks.prompting.prompt import answer_text, prompt_text, user_turn

VIDEO_TAG = "<video>"
AUDIO_TAG = "<audio>"
# What ms-swift replaces wherever it stands in a message (swift/template/base.py).
_TAG = re.compile(r"<(image|video|audio|bbox|ref-object|cot-process|start-image)>")

MediaPath = Callable[[str], Path]


def swift_row(
    sample: SampleRecord, config: InputConfig, plan: Plan, media_path: MediaPath
) -> dict[str, Any]:
    """Give a labelled sample's row; ``media_path`` says where a stored file lies for ms-swift."""
    video = sample.video_path if config.video else None
    audio = sample.audio_path if config.audio else None
    question = user_turn(
        prompt_text(config.prompt),
        media=VIDEO_TAG * (video is not None) + AUDIO_TAG * (audio is not None),
        transcript=_without_tags(sample.transcript) if config.transcript else None,
        transcript_before=_without_tags(sample.transcript_before),
    )
    answer = {"role": "assistant", "content": answer_text(sample.label, config.answer)}
    weights = weights_of(plan)
    weight = {"loss_scale": weights[sample.label == 1]} if weights != (1.0, 1.0) else {}
    return {
        "messages": [{"role": "user", "content": question}, {**answer, **weight}],
        "videos": [str(media_path(video))] if video is not None else [],
        "audios": [str(media_path(audio))] if audio is not None else [],
    }


def write_swift_rows(
    path: Path,
    samples: Sequence[SampleRecord],
    config: InputConfig,
    plan: Plan,
    media_path: MediaPath,
) -> int:
    """Write samples as JSON lines; gives their number."""
    with path.open("w", encoding="utf-8") as stream:
        for sample in samples:
            row = swift_row(sample, config, plan, media_path)
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(samples)


def drawn_by_plan(samples: Sequence[SampleRecord], plan: Plan) -> list[SampleRecord]:
    """Repeat the rarer class until both have as many rows, where the plan draws both equally.

    ms-swift knows no order of draws by class; it shuffles what it is given.
    """
    if not has_balanced_sampling(plan):
        return list(samples)
    groups = [[sample for sample in samples if sample.label == label] for label in (0, 1)]
    largest = max(map(len, groups))
    return [row for group in groups for row in _repeated(group, largest)]


def _repeated(group: Sequence[SampleRecord], count: int) -> Iterator[SampleRecord]:
    for index in range(count if group else 0):
        yield group[index % len(group)]


def _without_tags(words: str) -> str:
    """Take the brackets from what ms-swift would put media in place of."""
    while _TAG.search(words):
        words = _TAG.sub(r"\1", words)
    return words
