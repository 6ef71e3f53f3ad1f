from pathlib import Path

import pytest

from storage.store.store import Store
from tasks.parity.transformers_baseline import TransformersBaseline
from tasks.prompting.model_input import InputConfig, build_input

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)


@pytest.mark.slow
def test_video_audio_and_transcript_each_change_the_prediction(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    store = Store(str(tmp_path))
    (sample,) = toy_samples(store, 1)
    baseline = TransformersBaseline(tiny_omni)

    def predict_without(modality: str | None):  # type: ignore[no-untyped-def]
        config = INPUT.model_copy(update={modality: False} if modality else {})
        with store.open(sample.video_path) as video, store.open(sample.audio_path) as audio:
            return baseline.predict(
                build_input(config, video=video, audio=audio, transcript=sample.transcript)
            )

    full = predict_without(None)
    assert 0 < full.p_ah < 1
    assert 0 < full.answer_mass <= 1
    assert full.token_counts.num_audio_tokens == 13
    assert predict_without("audio").token_counts.num_audio_tokens == 0
    assert predict_without("video").token_counts.num_video_tokens == 0
    for modality in ("video", "audio", "transcript"):
        assert predict_without(modality).logp_yes != pytest.approx(full.logp_yes, abs=1e-6)
