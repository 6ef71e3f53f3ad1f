from math import exp, inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StageError
from tasks.prompting.model_input import InputConfig, make_input
from tasks.prompting.prediction import Answer, Census, check_census, check_numbers, count_tokens

MODEL_CONFIG = {
    "thinker_config": {
        "video_token_id": 7, "audio_token_id": 9,
        "vision_config": {"patch_size": 16, "spatial_merge_size": 2},
    }
}  # fmt: skip
NOTHING = Census(num_text_tokens=0, num_picture_tokens=0, num_sound_tokens=0)
logps = st.floats(min_value=-60, max_value=0)


def shown(*, num_frames: int = 10, seconds: float = 5.0):  # type: ignore[no-untyped-def]
    frames = np.zeros((num_frames, 32, 32, 3), np.uint8) if num_frames else None
    sound = np.zeros(int(16_000 * seconds), np.float32) if seconds else None
    return make_input(InputConfig(), frames=frames, sound=sound, words="yes")


@given(logps, logps)
def test_p_ah_is_the_softmax_over_the_two_answers(logp_yes: float, logp_no: float) -> None:
    answer = Answer(logp_yes=logp_yes, logp_no=logp_no, census=NOTHING)
    expected = exp(logp_yes) / (exp(logp_yes) + exp(logp_no))
    assert answer.p_ah == pytest.approx(expected, rel=1e-9)


def test_the_answer_mass_is_what_the_two_words_hold_together() -> None:
    answer = Answer(logp_yes=log(0.2), logp_no=log(0.5), census=NOTHING)
    assert answer.answer_mass == pytest.approx(0.7)


def test_rounding_never_makes_the_answer_mass_exceed_one() -> None:
    assert Answer(logp_yes=1e-7, logp_no=-90.0, census=NOTHING).answer_mass == 1.0


@given(st.lists(st.integers(min_value=0, max_value=12)))
def test_every_token_is_counted_once(token_ids: list[int]) -> None:
    census = count_tokens(token_ids, MODEL_CONFIG)
    assert census.num_picture_tokens == token_ids.count(7)
    assert census.num_sound_tokens == token_ids.count(9)
    counted = census.num_text_tokens + census.num_picture_tokens + census.num_sound_tokens
    assert counted == len(token_ids)


def test_a_fed_picture_and_sound_pass_the_census() -> None:
    check_census(
        Census(num_text_tokens=9, num_picture_tokens=20, num_sound_tokens=65), shown(), MODEL_CONFIG
    )


def test_what_was_not_given_need_not_be_counted() -> None:
    check_census(NOTHING, shown(num_frames=0, seconds=0), MODEL_CONFIG)


@pytest.mark.parametrize(
    ("num_picture", "num_sound", "kind"),
    [(20, 0, "sound"), (20, 1, "sound"), (0, 65, "picture"), (19, 65, "picture")],
)
def test_sound_or_picture_that_is_not_fed_stops_the_run(
    num_picture: int, num_sound: int, kind: str
) -> None:
    census = Census(num_text_tokens=9, num_picture_tokens=num_picture, num_sound_tokens=num_sound)
    with pytest.raises(StageError, match=f"the {kind} does not reach the model"):
        check_census(census, shown(), MODEL_CONFIG)


def test_even_two_frames_must_be_fed() -> None:
    census = Census(num_text_tokens=9, num_picture_tokens=1, num_sound_tokens=0)
    with pytest.raises(StageError, match="made 1 tokens of a segment's picture, expected 4"):
        check_census(census, shown(num_frames=2, seconds=0), MODEL_CONFIG)


@pytest.mark.parametrize("num_sound", [0, 1])
def test_even_a_tenth_of_a_second_of_sound_must_be_fed(num_sound: int) -> None:
    census = Census(num_text_tokens=9, num_picture_tokens=0, num_sound_tokens=num_sound)
    with pytest.raises(StageError, match=f"made {num_sound} tokens of a segment's sound"):
        check_census(census, shown(num_frames=0, seconds=0.1), MODEL_CONFIG)


@pytest.mark.parametrize("logp", [nan, -inf, inf, 0.5])
def test_what_is_no_log_probability_stops_the_run(logp: float) -> None:
    with pytest.raises(StageError, match=r"try infer\.dtype=float32"):
        check_numbers(logp, -1.0)
