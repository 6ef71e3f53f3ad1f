"""Segments predicted without their video or audio because that file is damaged.

A prediction's ``has_video`` and ``has_audio`` state what the model got. If that is less than the
settings include, the sample shows why: it has no such file, or a file that cannot be decoded.
"""

from collections.abc import Iterable

from storage.records import SampleRecord
from storage.results import PredictionRecord
from tasks.prompting.model_input import InputConfig


def count_damaged(
    rows: Iterable[PredictionRecord], samples: Iterable[SampleRecord], config: InputConfig
) -> tuple[int, int]:
    """Count the predictions made without a damaged video, and those made without a damaged audio.

    What the settings switch off is not damaged.
    """
    sample_of = {sample.segment_id: sample for sample in samples}
    pairs = [(row, sample_of[row.segment_id]) for row in rows if row.segment_id in sample_of]
    without_video = (sample.video_path is not None and not row.has_video for row, sample in pairs)
    without_audio = (sample.audio_path is not None and not row.has_audio for row, sample in pairs)
    return sum(without_video) if config.video else 0, sum(without_audio) if config.audio else 0


def damage_message(num_without_video: int, num_without_audio: int, num_rows: int) -> str:
    """Describe how many segments were predicted without damaged media; empty if none was."""
    if not (num_without_video or num_without_audio):
        return ""
    return (
        f"of {num_rows} segments {num_without_video} were predicted without their video and "
        f"{num_without_audio} without their audio, which cannot be decoded"
    )


def failures_message(num_rejected: int, num_damaged: int, num_all: int) -> str:
    """Describe how many segments failed, including those predicted without damaged media."""
    message = f"{num_rejected} of {num_all} segments are rejected"
    if num_damaged:
        message += f", {num_damaged} others predicted without a damaged video or audio"
    return message
