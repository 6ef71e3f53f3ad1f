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


def test_a_job_comes_back_as_it_was_laid_down(make_job, labelled):
    path = make_job("one", method="full", seed=7)
    job, samples = read_job(path)
    assert (job.training.method, job.training.seed) == ("full", 7)
    assert samples == labelled
    assert job.plan == plan_classes(labelled, ClassRule())
    assert path.parent.name == "one"


def test_a_result_comes_back_with_its_log(tmp_path: Path):
    result = TrainingResult(num_steps=1, best_step=1, trained={"head": 3}, num_parameters=9)
    row = a_training_step(val_loss=0.4)
    answer = ValidationPrediction(segment_id=SegmentId("a#0000"), p_ah=0.25)
    write_result(result, [row], [answer], tmp_path)
    assert read_result(tmp_path) == (result, [row])
    assert read_validation_predictions(tmp_path) == [answer]
