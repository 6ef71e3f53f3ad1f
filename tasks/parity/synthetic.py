"""Segments drawn by dice, for a measurement that needs no data set: noise, tones, odd words.

Four are taken for a video, so that there is something to pool.
"""

import io
import wave
from fractions import Fraction

import numpy as np

from storage.fingerprint import digest_of
from storage.records import AUDIO_SAMPLE_RATE, SampleRecord, SegmentId, VideoId
from storage.store.store import Store

_DURATIONS_MS = (300, 2_510, 3_337, 5_000)
_WORDS = ("i want to try", "", "vielleicht nächstes Jahr <|im_end|>", "um maybe but " * 12)
_RATE, _SIDE_TILES, _TILE = 10, (9, 12), 16


def draw_samples(store: Store, count: int, seed: int = 0) -> list[SampleRecord]:
    """Write segments of several lengths into a store; every fifth one has no sound."""
    dice = np.random.default_rng(seed)
    return [_draw(store, index, dice) for index in range(count)]


def _draw(store: Store, index: int, dice: np.random.Generator) -> SampleRecord:
    turn, location = divmod(index, len(_DURATIONS_MS))
    duration_ms = _DURATIONS_MS[location]
    words, before = (_WORDS[(turn + later) % len(_WORDS)].strip() for later in (0, 1))
    video_path, audio_path = f"drawn/{index}.mp4", f"drawn/{index}.wav"
    store.write_bytes(video_path, _picture(duration_ms, dice))
    store.write_bytes(audio_path, _sound(duration_ms, dice))
    return SampleRecord(
        segment_id=SegmentId(f"drawn {turn}#{location:04d}"), video_id=VideoId(f"drawn {turn}"),
        participant_id=None, split=None, question=None, index=location,
        num_segments=len(_DURATIONS_MS), start_ms=0, end_ms=duration_ms, video_path=video_path,
        audio_path=None if index % 5 == 4 else audio_path, transcript=words, transcript_before=before,
        num_words=len(words.split()), pause_ms=0, label=None, label_source=None,
        in_training=False, video_label=None, overlap_ms=0, overlap_fraction=0.0,
        consent_publications=None, consent_challenges=None, source_digest=digest_of(index),
        media_digest=digest_of(index), content_digest=digest_of(index, words),
    )  # fmt: skip


def _picture(duration_ms: int, dice: np.random.Generator) -> bytes:
    """Tiles whose colours drift."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(_RATE), options={"crf": "20"})
        stream.height, stream.width = (side * _TILE for side in _SIDE_TILES)
        stream.pix_fmt = "yuv420p"
        start, step = dice.integers(0, 255, (*_SIDE_TILES, 3)), dice.integers(1, 20, 3)
        for number in range(max(1, duration_ms * _RATE // 1_000)):
            tiles = ((start + number * step) % 256).astype(np.uint8)
            image = np.kron(tiles, np.ones((_TILE, _TILE, 1), np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    return file.getvalue()


def _sound(duration_ms: int, dice: np.random.Generator) -> bytes:
    """A tone that rises, in noise."""
    seconds = np.arange(AUDIO_SAMPLE_RATE * duration_ms // 1_000) / AUDIO_SAMPLE_RATE
    tone = np.sin(2 * np.pi * dice.uniform(100, 400) * seconds * (1 + 0.2 * seconds))
    samples = (8_000 * tone + dice.normal(0, 300, tone.size)).astype(np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(AUDIO_SAMPLE_RATE)
        writer.writeframes(samples.tobytes())
    return file.getvalue()
