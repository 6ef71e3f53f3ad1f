"""Samples as rows of an ms-swift data set: prompt, media paths and answer.

A row has ``messages`` with the roles user and assistant, and absolute paths in ``videos`` and
``audios``; each tag ``<video>`` and ``<audio>`` in the prompt refers to the next path of its list
(https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html). ms-swift replaces tags
with the same markers as `tasks.prompting.prompt`, which yields the same tokens. With class weights,
the answer's ``loss_scale`` is the weight of its class.
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
# Tags that ms-swift replaces anywhere in a message (swift/template/base.py).
_TAG = re.compile(r"<(image|video|audio|bbox|ref-object|cot-process|start-image)>")

MediaPath = Callable[[str], Path]


def swift_row(
    sample: SampleRecord, config: InputConfig, plan: Plan, media_path: MediaPath
) -> dict[str, Any]:
    """Return a labeled sample's row; ``media_path`` maps a stored file to its path for ms-swift."""
    video = sample.video_path if config.video else None
    audio = sample.audio_path if config.audio else None
    prompt = user_turn(
        prompt_text(config.prompt),
        media=VIDEO_TAG * (video is not None) + AUDIO_TAG * (audio is not None),
        transcript=_without_tags(sample.transcript) if config.transcript else None,
        transcript_before=_without_tags(sample.transcript_before),
    )
    answer = {"role": "assistant", "content": answer_text(sample.label, config.answer)}
    weights = weights_of(plan)
    weight = {"loss_scale": weights[sample.label == 1]} if weights != (1.0, 1.0) else {}
    return {
        "messages": [{"role": "user", "content": prompt}, {**answer, **weight}],
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
    """Write samples as JSON lines; returns their number."""
    with path.open("w", encoding="utf-8") as stream:
        for sample in samples:
            row = swift_row(sample, config, plan, media_path)
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(samples)


def oversampled(samples: Sequence[SampleRecord], plan: Plan) -> list[SampleRecord]:
    """Repeat samples of the rarer class until both have equal counts, if the plan is balanced.

    ms-swift has no balanced sampling; it shuffles its rows.
    """
    if not has_balanced_sampling(plan):
        return list(samples)
    groups = [[sample for sample in samples if sample.label == label] for label in (0, 1)]
    largest = max(map(len, groups))
    return [row for group in groups for row in _repeated(group, largest)]


def _repeated(group: Sequence[SampleRecord], count: int) -> Iterator[SampleRecord]:
    for index in range(count if group else 0):
        yield group[index % len(group)]


def _without_tags(transcript: str) -> str:
    """Remove the brackets of tags that ms-swift would replace with media."""
    while _TAG.search(transcript):
        transcript = _TAG.sub(r"\1", transcript)
    return transcript
