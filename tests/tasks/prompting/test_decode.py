import io
import wave

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.prompting import decode
from tasks.prompting.decode import _sample, decode_audio, decode_frames


def video_of(num_frames: int, rate: int) -> io.BytesIO:
    """Encode a video with frame i uniformly gray at 2 i."""
    target = io.BytesIO()
    with av.open(target, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for index in range(num_frames):
            gray = np.full((32, 32, 3), 2 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        container.mux(stream.encode())
    target.seek(0)
    return target


def wav_of(samples: np.ndarray, rate: int, channels: int) -> io.BytesIO:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    target.seek(0)
    return target


def test_frames_are_those_shown_at_the_middle_of_each_interval() -> None:
    frames = decode_frames(video_of(100, rate=25), fps=2.0)
    shown = frames.mean(axis=(1, 2, 3)) / 2
    assert frames.shape == (8, 32, 32, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_allclose(shown, [6, 18, 31, 43, 56, 68, 81, 93], atol=1.0)


def test_a_single_frame_is_enough() -> None:
    assert len(decode_frames(video_of(1, rate=25), fps=2.0)) == 1


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 4_000), min_size=1, max_size=60, unique=True).map(sorted),
    fps=st.sampled_from([0.5, 1.0, 2.0, 4.0, 10.0]),
)
def test_sampled_frames_are_in_order_and_cover_the_whole_time(times: list[int], fps: float) -> None:
    start = times[0]
    timed = [((time + 500) / 1000, (time - start) / 1000) for time in times]
    chosen = _sample(iter(timed), fps, 0.04)
    assert chosen == sorted(chosen)
    span_s = (times[-1] - start) / 1000
    assert len(chosen) >= max(1, int(span_s * fps))
    for index, shown_s in enumerate(chosen):
        assert shown_s <= (index + 0.5) / fps or len(chosen) == 1
        later = [time for _, time in timed if shown_s < time < (index + 0.5) / fps]
        assert not later, "a later frame was already shown"


def test_frames_without_timestamps_follow_the_stream_s_rate() -> None:
    assert _sample(((None, index) for index in range(8)), 2.0, 0.25) == [0, 2, 4, 6]


def test_audio_is_resampled_and_mixed_to_one_channel() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    audio = decode_audio(wav_of(np.stack([tone, tone], axis=1), 44_100, channels=2))
    assert audio.dtype == np.float32
    assert abs(audio.size - AUDIO_SAMPLE_RATE) < 20
    assert np.abs(audio[1000:-1000]).max() == pytest.approx(0.5, abs=0.02)


def test_audio_at_sixteen_kilohertz_comes_back_sample_for_sample() -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 3_210)
    audio = decode_audio(wav_of(samples, AUDIO_SAMPLE_RATE, channels=1))
    np.testing.assert_allclose(audio, samples, atol=1e-4)


@pytest.mark.parametrize("num_bytes", [6_464, 6_001, 5_000])
def test_a_complete_or_truncated_wav_decodes_to_the_same_bits_as_with_pyav(
    num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 3_210)
    content = wav_of(samples, AUDIO_SAMPLE_RATE, channels=1).getvalue()
    assert len(content) == 6_464
    samples = decode_audio(io.BytesIO(content[:num_bytes]))
    monkeypatch.setattr(decode, "_read_wav", lambda _audio: None)
    np.testing.assert_array_equal(samples, decode_audio(io.BytesIO(content[:num_bytes])))
    assert samples.dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"not a video at all, only text" * 20])
def test_files_that_are_no_media_are_item_faults(content: bytes) -> None:
    with pytest.raises(ItemFault, match="video"):
        decode_frames(io.BytesIO(content), 2.0)
    with pytest.raises(ItemFault, match="audio"):
        decode_audio(io.BytesIO(content))


def test_empty_audio_is_an_item_fault() -> None:
    with pytest.raises(ItemFault, match="audio contains no sample"):
        decode_audio(wav_of(np.zeros(0), AUDIO_SAMPLE_RATE, channels=1))


def test_a_file_without_the_expected_stream_is_an_item_fault() -> None:
    with pytest.raises(ItemFault, match="audio"):
        decode_audio(video_of(3, rate=25))
    with pytest.raises(ItemFault, match="video"):
        decode_frames(wav_of(np.zeros(100), AUDIO_SAMPLE_RATE, channels=1), 2.0)
