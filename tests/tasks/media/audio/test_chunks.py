import subprocess

import numpy as np
import pytest

from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.chunks import read_chunks, read_packets

NOISE = ("-f", "lavfi", "-i", "anoisesrc=r=16000:d=0.5:seed=1:a=0.4")


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=60)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("days", [0, 20_000])
def test_samples_are_read_with_their_times(tmp_path, num_channels, days):
    path, raw = tmp_path / "a.nut", tmp_path / "a.raw"
    seconds = days * 86_400
    channels = ("-ac", str(num_channels))
    ffmpeg(*NOISE, *channels, "-c:a", "pcm_s16le", "-output_ts_offset", str(seconds), str(path))
    ffmpeg(*NOISE, *channels, "-f", "s16le", str(raw))
    chunks = list(read_chunks(path, num_channels, seconds * AUDIO_SAMPLE_RATE - 7))
    assert [chunk.start for chunk in chunks[1:]] == [chunk.end for chunk in chunks[:-1]]
    assert chunks[0].start == 7
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert samples.shape == ((8_000,) if num_channels == 1 else (8_000, num_channels))
    assert np.array_equal(samples.ravel(), np.fromfile(raw, np.int16))


def test_a_truncated_file_yields_what_it_has_and_a_missing_one_nothing(tmp_path):
    path = tmp_path / "a.nut"
    ffmpeg(*NOISE, "-c:a", "pcm_s16le", str(path))
    path.write_bytes(path.read_bytes()[:9_000])
    assert 2_000 < sum(len(chunk.samples) for chunk in read_chunks(path, 1, 0)) < 5_000
    for content in (b"", b"nut/multimedia container\0"):
        path.write_bytes(content)
        assert list(read_chunks(path, 1, 0)) == []
    assert list(read_chunks(tmp_path / "missing.nut", 1, 0)) == []


def test_packets_are_spans_of_the_listed_times(tmp_path):
    path = tmp_path / "packets.txt"
    lines = [
        "#software: x",
        "#tb 0: 1/1000",
        "0, 0, 0, 500, 9, 0xff, S=1, 10",
        "0, 520, 520, 480, 9",
    ]
    path.write_text("\n".join([*lines, "0, 3000, 3000, 1000, 9, 0xff", "0, 40"]))
    spans = [(-10, 15_990), (47_990, 63_990)]
    assert read_packets(path, 10) == spans
    assert read_packets(tmp_path / "missing.txt", 0) == []
