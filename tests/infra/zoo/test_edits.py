import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.zoo.edits import with_length_tag, with_lost_packets
from tasks.media.ffmpeg import input_url


def streams_of(path: Path) -> list[dict[str, Any]]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", input_url(path)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout
    return json.loads(output)["streams"]


def test_a_stream_of_an_unknown_kind_has_no_type_and_the_others_keep_theirs(video):
    original, edited = (
        streams_of(video(f"{name}.ts")) for name in ("three-streams", "untyped-stream")
    )
    assert [stream["codec_type"] for stream in original] == ["video", "audio", "audio"]
    assert [stream.get("codec_type") for stream in edited] == ["video", None, "audio"]


@pytest.mark.parametrize("tag", ["00:06.000", "", "1:00:00,5"])
def test_a_length_tag_is_replaced_in_every_stream(video, tmp_path, tag):
    path = tmp_path / "edited.mkv"
    path.write_bytes(with_length_tag(video("b-frames.mkv").read_bytes(), tag))
    assert path.stat().st_size == video("b-frames.mkv").stat().st_size
    assert [stream["tags"].get("DURATION", "") for stream in streams_of(path)] == [tag, tag]


def test_lost_packets_are_those_of_the_video(video):
    original = video("three-streams.ts").read_bytes()
    edited = with_lost_packets(original, 5)
    assert len(edited) == len(original) - 5 * 188
    counts = [
        Counter(content[at + 1 : at + 3] for at in range(0, len(content), 188))
        for content in (original, edited)
    ]
    lost = counts[0] - counts[1]
    assert {int.from_bytes(pid, "big") & 0x1FFF for pid in lost} == {0x100}
