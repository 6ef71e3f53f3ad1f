from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ItemFault
from tasks.media.probe import SourceMedia
from tasks.media.verify import check_length

SOURCE = SourceMedia(
    path=Path("a.mp4"), video_stream=0, audio_stream=0, width=160, height=120,
    declared_seconds=10.0, origin=0.0, frame_times=tuple(n / 10 for n in range(100)), end_time=10.0,
    num_packets=500,
)  # fmt: skip
AUDIO_ONLY = replace(SOURCE, video_stream=None, frame_times=())


@pytest.mark.parametrize(
    ("declared", "warnings"),
    [
        (10.4, []),
        (11.0, ["the container declares 11.00 s of video, its frames end at 10.00 s"]),
    ],
)
def test_video_shorter_than_declared_is_reported(declared, warnings):
    assert check_length(replace(SOURCE, declared_seconds=declared), 0.9) == warnings


@pytest.mark.parametrize(("source", "kind"), [(SOURCE, "video"), (AUDIO_ONLY, "audio")])
def test_truncated_file_is_rejected(source, kind):
    with pytest.raises(ItemFault, match=f"truncated: the container declares 12.00 s of {kind}"):
        check_length(replace(source, declared_seconds=12.0), 0.9)
