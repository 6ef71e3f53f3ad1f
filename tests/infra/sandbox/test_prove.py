import pytest

from infra.sandbox import prove
from tests.builders import a_metric

LEARNS, DOES_NOT = (
    next(trial for trial in prove.TRIALS if trial.learns is learns) for learns in (True, False)
)


def holds(trial: prove.Trial, video: float | None, segment: float, low: float | None) -> bool:
    figures = {
        level: {"macro_f1": a_metric(name="macro_f1", level=level, value=value, low=low)}
        for level, value in (("video", video), ("segment", segment))
    }
    return prove.holds(trial, figures)


@pytest.mark.parametrize(("value", "expected"), [(0.95, True), (0.89, False), (None, False)])
def test_a_training_with_all_modalities_must_learn_the_label(
    value: float | None, expected: bool
) -> None:
    assert holds(LEARNS, value, 0.5, 0.9) == expected


@pytest.mark.parametrize(
    ("video", "segment", "low", "expected"),
    [
        (0.55, 0.52, 0.45, True),
        (0.70, 0.52, 0.45, False),
        (0.55, 0.70, 0.45, False),
        (0.60, 0.60, 0.55, False),
        (None, 0.52, 0.45, False),
        (0.55, 0.52, None, False),
    ],
)
def test_a_training_without_a_modality_must_stay_at_chance_on_videos_and_segments(
    video: float | None, segment: float, low: float | None, expected: bool
) -> None:
    assert holds(DOES_NOT, video, segment, low) == expected
