from pathlib import Path

import pytest

from storage.store.store import Store
from tasks.parity.transformers_baseline import Reference
from tasks.prompting.model_input import InputConfig, build_input

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)


@pytest.mark.slow
def test_picture_sound_and_words_each_move_the_answer(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    store = Store(str(tmp_path))
    (sample,) = toy_samples(store, 1)
    reference = Reference(tiny_omni)

    def answer_without(part: str | None):  # type: ignore[no-untyped-def]
        config = INPUT.model_copy(update={part: False} if part else {})
        with store.open(sample.picture_path) as picture, store.open(sample.sound_path) as sound:
            return reference.answer(
                build_input(config, picture=picture, sound=sound, words=sample.words)
            )

    whole = answer_without(None)
    assert 0 < whole.p_ah < 1
    assert 0 < whole.answer_mass <= 1
    assert whole.census.num_sound_tokens == 13
    assert answer_without("sound").census.num_sound_tokens == 0
    assert answer_without("picture").census.num_picture_tokens == 0
    for part in ("picture", "sound", "words"):
        assert answer_without(part).logp_yes != pytest.approx(whole.logp_yes, abs=1e-6)
