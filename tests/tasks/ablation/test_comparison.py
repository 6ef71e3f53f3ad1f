from dataclasses import replace
from pathlib import Path

import pytest

from storage.records import SampleRecord
from tasks.ablation.comparison import AblationRecord, ArmPredictions, measure_arms
from tasks.aggregate import AggregateConfig
from tests.builders import a_prediction
from tests.tasks.ablation.toys import sample

PLAN = AggregateConfig(bootstrap_draws=200).plan()
SAMPLES = [
    sample(f"{split} {person} {label}.mp4", index, participant=f"{split} {person}",
           split=split, label=label)
    for split in ("val", "test") for person in range(10) for label in (0, 1) for index in (0, 1)
]  # fmt: skip


def perfect(row: SampleRecord) -> float:
    """The prediction of an arm that knows the label."""
    return 0.2 + 0.6 * (row.label or 0)


def guessed(row: SampleRecord) -> float:
    """The prediction of an arm at chance: right for every second participant."""
    is_right = int((row.participant_id or "")[-1]) % 2
    return perfect(row) if is_right else 1 - perfect(row)


FULL = ArmPredictions(
    name="VAT",
    is_control=False,
    predictions=[a_prediction(row.segment_id, perfect(row)) for row in SAMPLES],
)
WITHOUT_VIDEO = ArmPredictions(
    name="AT",
    is_control=True,
    predictions=[a_prediction(row.segment_id, guessed(row)) for row in SAMPLES],
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[AblationRecord]:
    return measure_arms(SAMPLES, [FULL, WITHOUT_VIDEO], PLAN, tmp_path_factory.mktemp("measured"))


def figure(records: list[AblationRecord], arm: str, level: str, name: str) -> AblationRecord:
    (row,) = [row for row in records if (row.arm, row.level, row.name) == (arm, level, name)]
    return row


@pytest.mark.parametrize(("level", "num_rows"), [("video", 20), ("segment", 40)])
def test_an_arm_that_guesses_is_at_chance_and_far_from_the_full_arm(
    records: list[AblationRecord], level: str, num_rows: int
) -> None:
    full, without_video = (figure(records, arm, level, "macro_f1") for arm in ("VAT", "AT"))
    assert (full.value, full.difference, full.difference_low) == (1.0, 0.0, 0.0)
    assert (full.num_rows, without_video.num_paired) == (num_rows, num_rows)
    assert without_video.value is not None
    assert without_video.value <= 0.5
    assert without_video.difference == pytest.approx(without_video.value - 1)
    assert without_video.difference_low is not None
    assert without_video.difference_high is not None
    assert (
        without_video.difference_low
        <= without_video.difference
        <= without_video.difference_high
        < 0
    )


def test_differences_are_over_the_rows_that_both_arms_predicted(tmp_path: Path) -> None:
    missing = SAMPLES[-4].video_id  # a test video that the arm does not predict
    predictions = [row for row in WITHOUT_VIDEO.predictions if row.video_id != missing]
    arms = [FULL, replace(WITHOUT_VIDEO, predictions=predictions)]
    records = measure_arms(SAMPLES, arms, PLAN, tmp_path)
    row = figure(records, "AT", "video", "accuracy")
    assert (row.num_rows, row.num_paired) == (19, 19)
    assert figure(records, "VAT", "video", "accuracy").num_rows == 20


def test_an_arm_without_predictions_has_no_metrics(tmp_path: Path) -> None:
    arms = [FULL, replace(WITHOUT_VIDEO, predictions=[])]
    records = measure_arms(SAMPLES, arms, PLAN, tmp_path)
    row = figure(records, "AT", "segment", "macro_f1")
    assert (row.value, row.low, row.difference, row.fraction_positive) == (None, None, None, None)
    assert row.num_rows == 0
