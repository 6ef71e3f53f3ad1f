import numpy as np
import pytest

from infra.sandbox.whisper.schedule import (
    MAX_FRAMES,
    NUM_STEPS,
    PHASES,
    learning_rate_at,
    phase_at,
)


def test_every_step_belongs_to_one_phase_and_none_follows_the_last() -> None:
    names = [phase.name for step in range(NUM_STEPS) if (phase := phase_at(step))]
    assert [names.count(phase.name) for phase in PHASES] == [phase.num_steps for phase in PHASES]
    assert phase_at(NUM_STEPS) is None


def test_the_learning_rate_warms_up_and_falls_twice_the_second_time_for_many_voices() -> None:
    rates = [learning_rate_at(step) for step in range(NUM_STEPS)]
    second = NUM_STEPS - PHASES[-1].num_steps
    for part in (rates[:second], rates[second:]):
        peak = int(np.argmax(part))
        assert part[0] < part[peak] / 50
        assert part[peak:] == sorted(part[peak:], reverse=True)
        assert part[-1] < part[peak] / 20


@pytest.mark.parametrize("phase", PHASES, ids=lambda p: p.name)
def test_a_batch_has_room_for_its_longest_window_and_the_last_phase_pads_as_in_use(
    phase: object,
) -> None:
    rng = np.random.default_rng(0)
    for longest in (121, 1300, 2999, 3000):
        num_frames = phase.num_frames(longest, rng)  # type: ignore[attr-defined]
        assert num_frames % 2 == 0
        assert longest <= num_frames <= MAX_FRAMES
    assert PHASES[-1].num_frames(100, rng) == MAX_FRAMES


def test_window_lengths_stay_within_their_group() -> None:
    rng = np.random.default_rng(1)
    for group in (group for phase in PHASES for group in phase.groups):
        lengths = [group.draw_seconds(rng) for _ in range(300)]
        assert group.shortest <= min(lengths)
        assert max(lengths) <= group.longest
