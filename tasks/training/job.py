"""What the parent process asks of a training process, and what that one hands back.

A job lies in one folder: ``job.json`` and ``samples.parquet`` go in; ``result.json``,
``log.parquet``, ``validation.parquet`` and the folder ``model/`` come out.
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
_ANSWERS_NAME = "validation.parquet"
_RESULT_NAME = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSource:
    """The manifest's variant, and how many of the words before a segment its samples keep."""

    path: str = ""
    max_words_before: int | None = None


class TrainingJob(BaseModel):
    """One training; ``identity`` is a digest of all that decides its weights.

    ``work_path`` is where it keeps what it has reached, ``features_path`` where features of frozen
    towers are kept, or ``None`` to keep none. ``source_path`` is the manifest's variant,
    ``max_words_before`` its setting of that name.
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
        """Where the training's checkpoints lie."""
        return self.work_path / "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """How a training ended. ``best_step`` is the step whose weights were saved.

    ``trained`` counts trained numbers by part of the model, ``num_parameters`` all of the thinker.
    """

    num_steps: int
    best_step: int
    trained: dict[str, int]
    num_parameters: int


def curve_path_of(job_path: Path) -> Path:
    """Say where a job's child tells, while it runs, how far it is."""
    return job_path.with_name("curve.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationPrediction:
    """The probability of A/H that the kept weights give one validation segment."""

    segment_id: SegmentId
    p_ah: float


def write_job(job: TrainingJob, samples: Sequence[SampleRecord], folder: Path) -> Path:
    """Lay a job into an empty folder; gives the path of its job file."""
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
    answers: Sequence[ValidationPrediction],
    folder: Path,
) -> None:
    """Write the result last: a job with one is finished."""
    write_parquet(to_table(TrainingStepRecord, log), folder / _LOG_NAME)
    write_parquet(to_table(ValidationPrediction, answers), folder / _ANSWERS_NAME)
    (folder / _RESULT_NAME).write_text(json.dumps(asdict(result), indent=2), encoding="utf-8")


def read_result(folder: Path) -> tuple[TrainingResult, list[TrainingStepRecord]]:
    """Read what a finished job handed back."""
    result = TrainingResult(**json.loads((folder / _RESULT_NAME).read_bytes()))
    return result, list(from_table(TrainingStepRecord, read_parquet(folder / _LOG_NAME)))


def read_validation_predictions(folder: Path) -> list[ValidationPrediction]:
    """Read what a finished job's model says of the validation segments."""
    return list(from_table(ValidationPrediction, read_parquet(folder / _ANSWERS_NAME)))
