"""Decoded audio built from samples, as if ffmpeg had decoded it."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tasks.media.audio.channels import Downmix, measure_channels
from tasks.media.audio.decode import DecodedAudio
from tasks.media.audio.timeline import Chunk, Spans, join_chunks


@pytest.fixture
def decoded_audio() -> Callable[..., DecodedAudio]:
    """Build decoded audio from spans of noise, in samples."""

    return build_decoded_audio


def build_decoded_audio(
    *spans: tuple[int, int],
    listed: Spans | None = None,
    levels_of: Sequence[Chunk] | None = None,
    **fields: object,
) -> DecodedAudio:
    """Build decoded audio from spans of noise, in samples."""
    rng = np.random.default_rng(1)
    chunks = [
        Chunk(start=a, samples=rng.integers(-9_000, 9_000, b - a, np.int16)) for a, b in spans
    ]
    stereo = [
        Chunk(start=chunk.start, samples=np.stack([chunk.samples, chunk.samples], axis=1))
        for chunk in (chunks if levels_of is None else levels_of)
    ]
    timeline = join_chunks(chunks)
    defaults = {
        "timeline": timeline, "downmix": Downmix(), "num_errors": 0, "cause": "",
        "levels": measure_channels(stereo), "present": timeline.spans(),
        "listed": list(spans) if listed is None else listed,
    }  # fmt: skip
    return DecodedAudio(**(defaults | fields))
