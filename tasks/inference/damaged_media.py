"""Segments that were asked about without their picture or sound, because it is damaged.

A prediction's ``has_picture`` and ``has_sound`` say what the model was given. Where that is less
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
    blind = (sample.picture_path is not None and not row.has_picture for row, sample in pairs)
    deaf = (sample.sound_path is not None and not row.has_sound for row, sample in pairs)
    return sum(blind) if config.picture else 0, sum(deaf) if config.sound else 0


def damage_told(blind: int, deaf: int, num_rows: int) -> str:
    """Say what a model was not given, in words; empty where it was given all there is."""
    if not (blind or deaf):
        return ""
    return (
        f"of {num_rows} segments {blind} were asked about without their picture and {deaf} without "
        "their sound, which cannot be decoded"
    )


def failures_told(num_rejected: int, num_damaged: int, num_all: int) -> str:
    """Say how many segments failed, those included that were asked about without damaged media."""
    told = f"{num_rejected} of {num_all} segments are rejected"
    if num_damaged:
        told += f", {num_damaged} others asked about without a damaged picture or sound"
    return told
