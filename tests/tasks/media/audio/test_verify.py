from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.errors import ItemFault
from tasks.media.audio.decode import DecodedAudio
from tasks.media.audio.verify import audio_length_warnings, check_audio_decoding
from tasks.media.probe import SourceMedia

SOURCE = SourceMedia(
    path=Path("a.mp4"), video_stream=0, audio_stream=0, width=160, height=120,
    declared_seconds=10.0, origin=0.0, frame_times=tuple(n / 10 for n in range(100)), end_time=10.0,
    num_packets=500,
)  # fmt: skip
AUDIO_ONLY = replace(SOURCE, video_stream=None, frame_times=())


def audio(num_samples: int, num_errors: int = 0, cause: str = "") -> DecodedAudio:
    samples = np.zeros(num_samples, np.int16)
    return DecodedAudio(samples=samples, num_errors=num_errors, cause=cause)


def test_audio_may_lose_encoder_padding_but_not_more_than_the_rest_allows():
    assert check_audio_decoding(AUDIO_ONLY, audio(156_000), 0.9) == []
    warning = ["9.20 of 10.00 s of audio decode"]
    assert check_audio_decoding(AUDIO_ONLY, audio(147_200), 0.9) == warning
    with pytest.raises(ItemFault, match=r"damaged: 8\.00 of 10\.00 s of audio decode"):
        check_audio_decoding(AUDIO_ONLY, audio(128_000), 0.9)
    with pytest.raises(ItemFault, match="with 102 errors"):
        check_audio_decoding(AUDIO_ONLY, audio(160_000, 102, "bad"), 0.9)


@pytest.mark.parametrize(
    ("num_samples", "warnings"),
    [
        (160_000, []),
        (168_000, []),
        (128_000, ["the audio is 2.00 s shorter than the video"]),
        (192_000, ["the audio is 2.00 s longer than the video"]),
        (1_120_000, ["the audio is at least 60 s longer than the video"]),
    ],
)
def test_audio_of_another_length_is_reported(num_samples, warnings):
    assert audio_length_warnings(SOURCE, num_samples) == warnings
