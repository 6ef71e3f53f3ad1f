"""Random segments for a measurement without a data set: moving tiles, tones, odd transcripts.

Four segments make a video, for pooling.
"""

import io
import wave
from fractions import Fraction

import numpy as np

from storage.fingerprint import digest_of
from storage.records import (
    AUDIO_SAMPLE_RATE,
    SampleRecord,
    SegmentId,
    VideoId,
)
from storage.store.store import Store

_DURATIONS_MS = (300, 2_510, 3_337, 5_000)
_TRANSCRIPTS = ("i want to try", "", "vielleicht nächstes Jahr <|im_end|>", "um maybe but " * 12)
_RATE, _SIDE_TILES, _TILE = 10, (9, 12), 16


def write_synthetic_samples(store: Store, count: int, seed: int = 0) -> list[SampleRecord]:
    """Write segments of several lengths into a store; every fifth one has no audio."""
    rng = np.random.default_rng(seed)
    return [_write_sample(store, index, rng) for index in range(count)]


def _write_sample(store: Store, index: int, rng: np.random.Generator) -> SampleRecord:
    video, position = divmod(index, len(_DURATIONS_MS))
    duration_ms = _DURATIONS_MS[position]
    words, before = (
        _TRANSCRIPTS[(video + offset) % len(_TRANSCRIPTS)].strip() for offset in (0, 1)
    )
    video_path, audio_path = f"synthetic/{index}.mp4", f"synthetic/{index}.wav"
    store.write_bytes(video_path, _video(duration_ms, rng))
    store.write_bytes(audio_path, _audio(duration_ms, rng))
    return SampleRecord(
        segment_id=SegmentId(f"synthetic {video}#{position:04d}"),
        video_id=VideoId(f"synthetic {video}"), participant_id=None, split=None, question=None,
        index=position,
        num_segments=len(_DURATIONS_MS), start_ms=0, end_ms=duration_ms, video_path=video_path,
        audio_path=None if index % 5 == 4 else audio_path, transcript=words,
        transcript_before=before, num_words=len(words.split()), pause_ms=0, label=None,
        label_source=None, in_training=False, video_label=None, overlap_ms=0, overlap_fraction=0.0,
        interval_fraction=0.0, unknown_ms=0,
        consent_publications=None, consent_challenges=None, source_digest=digest_of(index),
        media_digest=digest_of(index), content_digest=digest_of(index, words),
    )  # fmt: skip


def _video(duration_ms: int, rng: np.random.Generator) -> bytes:
    """Encode tiles with drifting colors."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(_RATE), options={"crf": "20"})
        stream.height, stream.width = (side * _TILE for side in _SIDE_TILES)
        stream.pix_fmt = "yuv420p"
        start, step = rng.integers(0, 255, (*_SIDE_TILES, 3)), rng.integers(1, 20, 3)
        for frame in range(max(1, duration_ms * _RATE // 1_000)):
            tiles = ((start + frame * step) % 256).astype(np.uint8)
            image = np.kron(tiles, np.ones((_TILE, _TILE, 1), np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    return file.getvalue()


def _audio(duration_ms: int, rng: np.random.Generator) -> bytes:
    """Encode a rising tone in noise."""
    seconds = np.arange(AUDIO_SAMPLE_RATE * duration_ms // 1_000) / AUDIO_SAMPLE_RATE
    tone = np.sin(2 * np.pi * rng.uniform(100, 400) * seconds * (1 + 0.2 * seconds))
    samples = (8_000 * tone + rng.normal(0, 300, tone.size)).astype(np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(AUDIO_SAMPLE_RATE)
        writer.writeframes(samples.tobytes())
    return file.getvalue()
