import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.training.schedule import learning_rate_at
from tasks.training.settings import TrainingSettings


def rates(num_steps: int, **settings: object) -> list[float]:
    config = TrainingSettings.model_validate({"learning_rate": 1.0, **settings})
    return [learning_rate_at(step, num_steps, config) for step in range(1, num_steps + 1)]


def test_the_learning_rate_warms_up_then_decays_to_its_minimum():
    linear = rates(10, warmup_steps=4, min_learning_rate_fraction=0.1)
    assert linear[:4] == [0.25, 0.5, 0.75, 1.0]
    assert linear[4:] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0.1])


def test_cosine_decays_slowly_at_first_and_constant_never():
    cosine = rates(11, warmup_steps=1, schedule="cosine", min_learning_rate_fraction=0)
    assert cosine[5] == pytest.approx(0.5)
    assert cosine[1] > 0.95
    assert cosine[-1] == 0
    assert rates(5, warmup_steps=0, schedule="constant") == [1.0] * 5


@given(
    num_steps=st.integers(1, 50),
    warmup_steps=st.integers(0, 60),
    schedule=st.sampled_from(["constant", "cosine", "linear"]),
    fraction=st.floats(0, 1),
)
def test_the_learning_rate_stays_within_its_bounds(num_steps, warmup_steps, schedule, fraction):
    values = rates(
        num_steps, warmup_steps=warmup_steps, schedule=schedule, min_learning_rate_fraction=fraction
    )
    after = values[warmup_steps:]
    assert all(0 <= rate <= 1 for rate in values)
    assert all(rate >= fraction - 1e-12 for rate in after)
    assert after == sorted(after, reverse=True)
