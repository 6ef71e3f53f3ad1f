"""Segments that were asked about without their picture or sound, because it is damaged.

A prediction's ``has_video`` and ``has_audio`` say what the model was given. Where that is less
than the settings show, the sample tells why: it has no such file, or it has one that cannot be
decoded.
"""

from collections.abc import Iterable

from storage.records import SampleRecord
from storage.results import PredictionRecord
from tasks.prompting.model_input import InputConfig


def count_damaged(
    rows: Iterable[PredictionRecord], samples: Iterable[SampleRecord], config: InputConfig
) -> tuple[int, int]:
    """Count the segments that have a picture the model was not shown, and those with such a sound.

    What the settings switch off is not damaged.
    """
    asked = {sample.segment_id: sample for sample in samples}
    pairs = [(row, asked[row.segment_id]) for row in rows if row.segment_id in asked]
    without_video = (sample.video_path is not None and not row.has_video for row, sample in pairs)
    without_audio = (sample.audio_path is not None and not row.has_audio for row, sample in pairs)
    return sum(without_video) if config.video else 0, sum(without_audio) if config.audio else 0


def damage_message(without_video: int, without_audio: int, num_rows: int) -> str:
    """Say what a model was not given, in words; empty where it was given all there is."""
    if not (without_video or without_audio):
        return ""
    return (
        f"of {num_rows} segments {without_video} were asked about without their picture and {without_audio} without "
        "their sound, which cannot be decoded"
    )


def failures_message(num_rejected: int, num_damaged: int, num_all: int) -> str:
    """Say how many segments failed, those included that were asked about without damaged media."""
    message = f"{num_rejected} of {num_all} segments are rejected"
    if num_damaged:
        message += f", {num_damaged} others asked about without a damaged picture or sound"
    return message
