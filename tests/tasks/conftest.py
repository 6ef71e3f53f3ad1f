"""Toy segments: seconds of synthetic noise and tones, stored as the segment stage stores them."""

import io
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from storage.fingerprint import digest_of
from storage.records import SampleRecord
from storage.store.store import Store
from tests.builders import a_sample

REPOSITORY = Path(__file__).parents[2]
WORDS = ("I want to try", "", "maybe not this year", "yes but I am tired")

ToySamples = Callable[..., list[SampleRecord]]


@pytest.fixture(scope="session")
def tiny_omni() -> Path:
    """The small Qwen3-Omni base that comes with the sandbox."""
    return REPOSITORY / "infra" / "sandbox" / "models" / "omni-base"


@pytest.fixture(scope="session")
def toy_samples() -> ToySamples:
    """Write ``count`` segments of 1 to 2.5 s into a store; every fifth one has no audio."""

    def write(store: Store, count: int, seed: int = 0) -> list[SampleRecord]:
        random = np.random.default_rng(seed)
        return [_write_sample(store, index, random) for index in range(count)]

    return write


def _write_sample(store: Store, index: int, random: np.random.Generator) -> SampleRecord:
    duration_ms = 1_000 + 500 * (index % 4)
    video_path = f"segment/toy/files/{index}.mp4"
    audio_path = None if index % 5 == 4 else f"segment/toy/files/{index}.wav"
    store.write_bytes(video_path, _video_bytes(duration_ms, random))
    if audio_path:
        store.write_bytes(audio_path, _audio_bytes(duration_ms, random))
    words = WORDS[index % len(WORDS)]
    return a_sample(
        f"toy {index}.mp4", end_ms=duration_ms, video_path=video_path, audio_path=audio_path,
        transcript=words, transcript_before=WORDS[(index + 1) % len(WORDS)],
        source_digest=digest_of("source", index), media_digest=digest_of("media", index),
        content_digest=digest_of("content", index),
    )  # fmt: skip


def _video_bytes(duration_ms: int, random: np.random.Generator) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        start, step = random.integers(0, 255, (8, 8, 3)), random.integers(1, 20, (8, 8, 3))
        for number in range(duration_ms // 100):
            tiles = ((start + number * step) % 256).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.kron(tiles, np.ones((8, 8, 1), np.uint8)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _audio_bytes(duration_ms: int, random: np.random.Generator) -> bytes:
    seconds = np.arange(16 * duration_ms) / 16_000
    tone = np.sin(2 * np.pi * random.uniform(100, 400) * seconds * (1 + 0.2 * seconds))
    samples = (8_000 * tone + random.normal(0, 300, tone.size)).astype(np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(samples.tobytes())
    return file.getvalue()
