from pathlib import Path

from storage.records import SegmentId
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.training.job import (
    TrainingResult,
    ValidationPrediction,
    read_job,
    read_result,
    read_validation_predictions,
    write_result,
)
from tests.builders import a_training_step


def test_a_job_round_trips_through_its_folder(make_job, labeled):
    path = make_job("one", method="full", seed=7)
    job, samples = read_job(path)
    assert (job.training.method, job.training.seed) == ("full", 7)
    assert samples == labeled
    assert job.plan == plan_classes(labeled, ClassRule())
    assert path.parent.name == "one"


def test_a_result_round_trips_with_its_log_and_predictions(tmp_path: Path):
    result = TrainingResult(num_steps=1, best_step=1, trained={"head": 3}, num_parameters=9)
    row = a_training_step(val_loss=0.4)
    prediction = ValidationPrediction(segment_id=SegmentId("a#0000"), p_ah=0.25)
    write_result(result, [row], [prediction], tmp_path)
    assert read_result(tmp_path) == (result, [row])
    assert read_validation_predictions(tmp_path) == [prediction]
