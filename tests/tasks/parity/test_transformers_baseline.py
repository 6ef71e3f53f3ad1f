from pathlib import Path

import pytest

from storage.store.store import Store
from tasks.parity.transformers_baseline import TransformersBaseline
from tasks.prompting.model_input import InputConfig, build_input

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)


@pytest.mark.slow
def test_video_audio_and_words_each_move_the_answer(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    store = Store(str(tmp_path))
    (sample,) = toy_samples(store, 1)
    reference = TransformersBaseline(tiny_omni)

    def answer_without(part: str | None):  # type: ignore[no-untyped-def]
        config = INPUT.model_copy(update={part: False} if part else {})
        with store.open(sample.video_path) as video, store.open(sample.audio_path) as audio:
            return reference.answer(
                build_input(config, video=video, audio=audio, transcript=sample.transcript)
            )

    whole = answer_without(None)
    assert 0 < whole.p_ah < 1
    assert 0 < whole.answer_mass <= 1
    assert whole.token_counts.num_audio_tokens == 13
    assert answer_without("audio").token_counts.num_audio_tokens == 0
    assert answer_without("video").token_counts.num_video_tokens == 0
    for part in ("video", "audio", "transcript"):
        assert answer_without(part).logp_yes != pytest.approx(whole.logp_yes, abs=1e-6)
