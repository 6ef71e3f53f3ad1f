"""The interface between the parent and the training process: a folder with a job and its result.

Input: ``job.json`` and ``samples.parquet``. Output: ``result.json``, ``log.parquet``,
``validation.parquet`` and the folder ``model/``.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from storage.records import ClassPlanRecord, SampleRecord, SegmentId
from storage.results import TrainingStepRecord
from storage.schema import from_table, read_parquet, to_table, write_parquet
from tasks.prompting.model_input import InputConfig
from tasks.training.settings import FinetuneResources, TrainingSettings

MODEL_FOLDER = "model"
ADAPTER_FOLDER = "adapter"
MERGED_FOLDER = "merged"
EVENTS_FOLDER = "events"
_JOB_NAME = "job.json"
_SAMPLES_NAME = "samples.parquet"
_LOG_NAME = "log.parquet"
_PREDICTIONS_NAME = "validation.parquet"
_RESULT_NAME = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSource:
    """The samples' manifest variant, and its setting ``max_words_before``."""

    path: str = ""
    max_words_before: int | None = None


class TrainingJob(BaseModel):
    """One training; ``identity`` is a digest of everything that determines its weights.

    ``work_path`` is the folder of checkpoints, ``features_path`` the folder of stored features,
    ``None`` to store none. ``source_path`` and ``max_words_before`` are those of `SampleSource`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    store_url: str
    model_path: Path
    base_name: str = ""
    base_fingerprint: str = ""
    source_path: str = ""
    max_words_before: int | None = None
    input: InputConfig
    training: TrainingSettings
    plan: tuple[ClassPlanRecord, ...]
    resources: FinetuneResources
    work_path: Path
    features_path: Path | None = None
    merge: bool = True
    max_shard_bytes: int = Field(default=5 << 30, gt=0)

    @property
    def checkpoints_path(self) -> Path:
        """The folder of the training's checkpoints."""
        return self.work_path / "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The result of a training; ``best_step`` is the step of the saved weights.

    ``trained`` counts trained parameters by part, ``num_parameters`` all of the thinker's.
    """

    num_steps: int
    best_step: int
    trained: dict[str, int]
    num_parameters: int


def curve_path_of(job_path: Path) -> Path:
    """Return the path of the curve that a job's process writes while it runs."""
    return job_path.with_name("curve.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationPrediction:
    """The probability of A/H that the saved weights predict for a validation segment."""

    segment_id: SegmentId
    p_ah: float


def write_job(job: TrainingJob, samples: Sequence[SampleRecord], folder: Path) -> Path:
    """Write a job into an empty folder; returns the path of its job file."""
    write_parquet(to_table(SampleRecord, samples), folder / _SAMPLES_NAME)
    path = folder / _JOB_NAME
    path.write_text(job.model_dump_json(indent=2), encoding="utf-8")
    return path


def read_job(path: Path) -> tuple[TrainingJob, list[SampleRecord]]:
    """Read a job and its samples."""
    job = TrainingJob.model_validate_json(path.read_bytes())
    samples = list(from_table(SampleRecord, read_parquet(path.parent / _SAMPLES_NAME)))
    return job, samples


def write_result(
    result: TrainingResult,
    log: Sequence[TrainingStepRecord],
    predictions: Sequence[ValidationPrediction],
    folder: Path,
) -> None:
    """Write the result; ``result.json`` is written last and marks the job as finished."""
    write_parquet(to_table(TrainingStepRecord, log), folder / _LOG_NAME)
    write_parquet(to_table(ValidationPrediction, predictions), folder / _PREDICTIONS_NAME)
    (folder / _RESULT_NAME).write_text(json.dumps(asdict(result), indent=2), encoding="utf-8")


def read_result(folder: Path) -> tuple[TrainingResult, list[TrainingStepRecord]]:
    """Read a finished job's result and log."""
    result = TrainingResult(**json.loads((folder / _RESULT_NAME).read_bytes()))
    return result, list(from_table(TrainingStepRecord, read_parquet(folder / _LOG_NAME)))


def read_validation_predictions(folder: Path) -> list[ValidationPrediction]:
    """Read a finished job's predictions of the validation segments."""
    return list(from_table(ValidationPrediction, read_parquet(folder / _PREDICTIONS_NAME)))
