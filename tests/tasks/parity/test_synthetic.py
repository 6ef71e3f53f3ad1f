from pathlib import Path

from storage.store.store import Store
from tasks.parity.synthetic import write_synthetic_samples
from tasks.prompting.model_input import InputConfig, build_input


def test_synthetic_segments_decode_differ_and_are_reproducible(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "one"))
    samples = write_synthetic_samples(store, 5)
    assert samples == write_synthetic_samples(Store(str(tmp_path / "two")), 5)
    assert len({sample.content_digest for sample in samples}) == 5
    assert [sample.audio_path is None for sample in samples] == [False] * 4 + [True]
    for sample in samples:
        video = store.open(sample.video_path)
        audio = store.open(sample.audio_path) if sample.audio_path else None
        inputs = build_input(InputConfig(), video=video, audio=audio, transcript=sample.transcript)
        seconds = (sample.end_ms - sample.start_ms) / 1000
        assert inputs.frames is not None
        assert abs(len(inputs.frames) - 2 * seconds) <= 2
        assert (inputs.audio is None) == (audio is None)
