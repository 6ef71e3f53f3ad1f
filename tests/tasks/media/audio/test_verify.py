from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ItemFault
from tasks.media.audio.channels import Downmix
from tasks.media.audio.segments import plan_tail, write_segments
from tasks.media.audio.verify import channel_warnings, check_audio_decoding, loss_warnings
from tasks.media.plan import plan_segments
from tasks.media.probe import SourceMedia

S = 16_000
SOURCE = SourceMedia(
    path=Path("a.mp4"), video_stream=0, audio_stream=0, width=160, height=120,
    declared_seconds=10.0, origin=0.0, frame_times=tuple(n / 10 for n in range(100)), end_time=10.0,
    num_packets=500,
)  # fmt: skip
AUDIO_ONLY = replace(SOURCE, video_stream=None, frame_times=())
PLAN = tuple(plan_segments(SOURCE.frame_times, 10.0, 5_000))


def test_audio_may_lose_encoder_padding_but_not_more_than_the_rest_allows(decoded_audio):
    assert check_audio_decoding(AUDIO_ONLY, decoded_audio((0, 156_000)), 0.9) == []
    warning = ["9.20 of 10.00 s of audio decode"]
    assert check_audio_decoding(AUDIO_ONLY, decoded_audio((0, 147_200)), 0.9) == warning
    with pytest.raises(ItemFault, match=r"damaged: 8\.00 of 10\.00 s of audio decode"):
        check_audio_decoding(AUDIO_ONLY, decoded_audio((0, 100_000), (132_000, 160_000)), 0.9)
    broken = decoded_audio((0, 160_000), num_errors=102, cause="bad")
    with pytest.raises(ItemFault, match="with 102 errors"):
        check_audio_decoding(AUDIO_ONLY, broken, 0.9)


@pytest.mark.parametrize(
    ("spans", "listed", "warnings"),
    [
        ([(0, 10 * S)], None, []),
        ([(4_000, 10 * S - 3_000)], None, []),
        ([(-5_000, 10 * S + 7_000)], None, []),
        ([(0, 9 * S)], None, ["audio is missing for 1.00 of 10.00 s of video"]),
        (
            [(0, 6 * S)],
            None,
            [
                "audio is missing for 4.00 of 10.00 s of video: 1 of 2 segments are without audio",
            ],
        ),
        (
            [(0, 5 * S)],
            [(0, 10 * S)],
            [
                "audio is missing for 5.00 of 10.00 s of video (5.00 s of the source's audio do "
                "not decode): 1 of 2 segments are without audio",
            ],
        ),
        ([(-S, 10 * S)], None, ["1.00 s of audio before the first frame are not used"]),
        ([(0, 10 * S + 12_800)], None, ["0.80 s of audio after the last frame are not used"]),
        ([(0, 13 * S)], None, []),
        ([(0, 700 * S)], None, ["90.00 s of audio after the last frame are not used"]),
        (
            [],
            [(10**9, 10**9 + 10 * S)],
            [
                "audio is missing for 10.00 of 10.00 s of video: 2 of 2 segments are without audio",
                "10.00 s of audio after the last frame are not used",
            ],
        ),
    ],
)
def test_every_loss_of_audio_is_reported_in_seconds(
    decoded_audio, tmp_path, spans, listed, warnings
):
    audio = decoded_audio(*spans, listed=listed, levels_of=[])
    plan = PLAN + plan_tail(PLAN, audio, 5_000)
    assert loss_warnings(audio, plan, write_segments(plan, audio, tmp_path)) == warnings


@pytest.mark.parametrize(
    ("downmix", "warnings"),
    [
        (Downmix(), []),
        (
            Downmix(channel=1, dead_channel=True),
            ["the left audio channel is silent: only the right one is used"],
        ),
        (
            Downmix(channel=0, antiphase=True),
            ["the channels are in antiphase and cancel each other: only the left one is used"],
        ),
    ],
)
def test_bad_channels_are_reported(decoded_audio, downmix, warnings):
    audio = decoded_audio((0, 10 * S), downmix=downmix)
    assert channel_warnings(audio) == warnings
