import subprocess

import av
import numpy as np
import pytest

from infra.zoo.field_coded import GOP, write_fields


def random_frames(num_frames: int, width: int, height: int) -> bytes:
    size = num_frames * width * height * 3 // 2
    # Zeros and small values need escapes in NAL units.
    return np.random.default_rng(1).choice([0, 0, 0, 1, 2, 3, 4, 255], size).astype("u1").tobytes()


@pytest.mark.parametrize(
    ("num_frames", "width", "height"), [(1, 16, 32), (2, 48, 32), (13, 32, 64), (30, 64, 96)]
)
def test_a_decoder_returns_exactly_the_frames_whose_fields_were_written(
    tmp_path, num_frames, width, height
):
    frames, path = random_frames(num_frames, width, height), tmp_path / "fields.264"
    path.write_bytes(write_fields(frames, width, height))
    command = ["ffmpeg", "-v", "warning", "-i", str(path), "-f", "rawvideo", "-"]
    result = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert result.stdout == frames
    assert b"error" not in result.stderr


def test_every_field_is_a_packet_of_its_own(tmp_path):
    path = tmp_path / "fields.264"
    path.write_bytes(write_fields(random_frames(2 * GOP + 1, 32, 32), 32, 32))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert (len(packets), len(frames)) == (2 * len(frames), 2 * GOP + 1)
    assert all(frame.interlaced_frame for frame in frames)


@pytest.mark.parametrize(
    ("size", "width", "height"),
    [(0, 16, 32), (768, 16, 32 - 16), (768, 8, 64), (767, 16, 32), (1536, 32, 16)],
)
def test_frames_that_are_no_whole_macroblocks_of_fields_are_rejected(size, width, height):
    with pytest.raises(ValueError, match="are no frames of"):
        write_fields(bytes(size), width, height)
