import io
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.errors import ItemFault
from storage.media_records import SegmentRecord
from storage.store.store import Store
from tasks.speech.audio import read_video_audio
from tests.builders import a_segment


def stored_segment(
    store: Store, index: int, samples: list[int], rate: int = 16_000
) -> SegmentRecord:
    content = io.BytesIO()
    with wave.open(content, "wb") as audio:
        audio.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        audio.writeframes(np.array(samples, "<i2").tobytes())
    store.write_bytes(f"s/{index}.wav", content.getvalue())
    start_ms = [0, 2, 5, 9][index]
    return a_segment(
        "v", index, start_ms=start_ms, num_samples=len(samples), audio_path=f"s/{index}.wav"
    )


def test_segments_are_joined_in_order_and_scaled_to_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    rows = [stored_segment(store, 0, [0, 16_384] * 15), stored_segment(store, 1, [-32_768])]
    samples = read_video_audio(store, rows)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.array([0, 0.5] * 15 + [-1], np.float32))


def test_audio_after_segments_without_audio_is_at_its_time(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    rows = [
        replace(stored_segment(store, 0, []), audio_path=None),
        stored_segment(store, 1, [1] * 30),
        replace(stored_segment(store, 2, []), audio_path=None),
        stored_segment(store, 3, [2] * 9),
    ]
    samples = read_video_audio(store, rows)
    expected = [0] * 32 + [1] * 30 + [0] * 82 + [2] * 9
    np.testing.assert_array_equal(samples * 32_768, expected)


def test_audio_is_read_from_a_store_that_is_not_a_folder() -> None:
    store = Store("memory://audio-test")
    assert read_video_audio(store, [stored_segment(store, 0, [1, 2, 3])]).shape == (3,)


def test_video_without_audio_has_no_samples(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    silent = replace(stored_segment(store, 0, []), audio_path=None, audio_digest=None)
    assert len(read_video_audio(store, [silent])) == 0


def test_audio_that_does_not_match_its_record_is_the_videos_fault(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    shorter = replace(stored_segment(store, 0, [1, 2, 3]), num_samples=4)
    with pytest.raises(ItemFault, match="3 samples of 1 channels at 16000 Hz, expected 4"):
        read_video_audio(store, [shorter])
    with pytest.raises(ItemFault, match="at 8000 Hz"):
        read_video_audio(store, [stored_segment(store, 0, [1], rate=8_000)])
