"""Run a training in a child process and follow its progress."""

import sys
from pathlib import Path

from storage.errors import WaverError
from storage.store.variant import Variant
from tasks.log import LOGGER
from tasks.model.gpu import has_gpu_driver
from tasks.model.gpu_lock import hold_gpus, names_of_gpus
from tasks.processes.child_process import run_child
from tasks.processes.error_file import log_path_of
from tasks.training.distributed.launch import launch_command, num_processes
from tasks.training.job import TrainingJob, curve_path_of
from tasks.training.tracking.curve_artifact import CurveArtifact

SWIFT_CHILD_MODULE = "tasks.ms_swift.child"
_ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # no import from the current folder
    "TOKENIZERS_PARALLELISM": "false",
}


def run_training(job_path: Path, job: TrainingJob, variant: Variant, curve: CurveArtifact) -> None:
    """Run a training; the libraries' log is kept if it fails.

    Raises:
        WaverError: the child's error, with the path of that log.
    """
    curve_path = curve_path_of(job_path)

    def on_line(line: str) -> None:
        LOGGER.info("%s: %s", variant.stage, line)
        curve.update(curve_path)

    try:
        with hold_gpus(_gpus_of(job), variant.stage) as descriptors:
            run_child(
                _command(job_path, job), on_line=on_line, job_path=job_path,
                environment=_ENVIRONMENT, descriptors=descriptors,
            )  # fmt: skip
        curve.update(curve_path, is_last=True)
    except WaverError as error:
        if log := variant.keep_log(log_path_of(job_path)):
            raise type(error)(f"{error} The libraries' log: {log}") from error
        raise


def _gpus_of(job: TrainingJob) -> list[str]:
    """Name the GPUs that the training processes will use."""
    if job.resources.device == "cpu" or not has_gpu_driver():
        return []
    return names_of_gpus(num_processes(job.resources))


def _command(job_path: Path, job: TrainingJob) -> list[str]:
    """Return the child's command; ms-swift launches its own training processes."""
    if job.training.trainer == "ms-swift":
        return [sys.executable, "-m", SWIFT_CHILD_MODULE, str(job_path)]
    return launch_command(job_path, job.resources)
