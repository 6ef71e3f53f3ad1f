from math import exp, inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StageError
from tasks.prompting.model_input import InputConfig, make_input
from tasks.prompting.prediction import (
    Prediction,
    TokenCounts,
    check_log_probabilities,
    check_token_counts,
    count_tokens,
)

MODEL_CONFIG = {
    "thinker_config": {
        "video_token_id": 7, "audio_token_id": 9,
        "vision_config": {"patch_size": 16, "spatial_merge_size": 2},
    }
}  # fmt: skip
NOTHING = TokenCounts(num_text_tokens=0, num_video_tokens=0, num_audio_tokens=0)
logps = st.floats(min_value=-60, max_value=0)


def segment(*, num_frames: int = 10, seconds: float = 5.0):  # type: ignore[no-untyped-def]
    frames = np.zeros((num_frames, 32, 32, 3), np.uint8) if num_frames else None
    audio = np.zeros(int(16_000 * seconds), np.float32) if seconds else None
    return make_input(InputConfig(), frames=frames, audio=audio, transcript="yes")


@given(logps, logps)
def test_p_ah_is_the_softmax_over_the_two_answers(logp_yes: float, logp_no: float) -> None:
    prediction = Prediction(logp_yes=logp_yes, logp_no=logp_no, token_counts=NOTHING)
    expected = exp(logp_yes) / (exp(logp_yes) + exp(logp_no))
    assert prediction.p_ah == pytest.approx(expected, rel=1e-9)


def test_the_answer_mass_is_the_probability_of_both_answers() -> None:
    prediction = Prediction(logp_yes=log(0.2), logp_no=log(0.5), token_counts=NOTHING)
    assert prediction.answer_mass == pytest.approx(0.7)


def test_rounding_never_makes_the_answer_mass_exceed_one() -> None:
    assert Prediction(logp_yes=1e-7, logp_no=-90.0, token_counts=NOTHING).answer_mass == 1.0


@given(st.lists(st.integers(min_value=0, max_value=12)))
def test_every_token_is_counted_once(token_ids: list[int]) -> None:
    token_counts = count_tokens(token_ids, MODEL_CONFIG)
    assert token_counts.num_video_tokens == token_ids.count(7)
    assert token_counts.num_audio_tokens == token_ids.count(9)
    counted = (
        token_counts.num_text_tokens + token_counts.num_video_tokens + token_counts.num_audio_tokens
    )
    assert counted == len(token_ids)


def test_expected_token_counts_pass() -> None:
    check_token_counts(
        TokenCounts(num_text_tokens=9, num_video_tokens=20, num_audio_tokens=65),
        segment(),
        MODEL_CONFIG,
    )


def test_absent_media_needs_no_tokens() -> None:
    check_token_counts(NOTHING, segment(num_frames=0, seconds=0), MODEL_CONFIG)


@pytest.mark.parametrize(
    ("num_video", "num_audio", "modality"),
    [(20, 0, "audio"), (20, 1, "audio"), (0, 65, "video"), (19, 65, "video")],
)
def test_audio_or_video_that_does_not_reach_the_model_stops_the_run(
    num_video: int, num_audio: int, modality: str
) -> None:
    token_counts = TokenCounts(
        num_text_tokens=9, num_video_tokens=num_video, num_audio_tokens=num_audio
    )
    with pytest.raises(StageError, match=f"the {modality} does not reach the model"):
        check_token_counts(token_counts, segment(), MODEL_CONFIG)


def test_even_two_frames_must_reach_the_model() -> None:
    token_counts = TokenCounts(num_text_tokens=9, num_video_tokens=1, num_audio_tokens=0)
    with pytest.raises(StageError, match="video has 1 tokens in the engine, expected 4"):
        check_token_counts(token_counts, segment(num_frames=2, seconds=0), MODEL_CONFIG)


@pytest.mark.parametrize("num_audio", [0, 1])
def test_even_a_tenth_of_a_second_of_audio_must_reach_the_model(num_audio: int) -> None:
    token_counts = TokenCounts(num_text_tokens=9, num_video_tokens=0, num_audio_tokens=num_audio)
    with pytest.raises(StageError, match=f"audio has {num_audio} tokens in the engine"):
        check_token_counts(token_counts, segment(num_frames=0, seconds=0.1), MODEL_CONFIG)


@pytest.mark.parametrize("logp", [nan, -inf, inf, 0.5])
def test_a_value_that_is_no_log_probability_stops_the_run(logp: float) -> None:
    with pytest.raises(StageError, match=r"try infer\.dtype=float32"):
        check_log_probabilities(logp, -1.0)
