"""The command that launches the processes of a training with accelerate."""

import os
import sys
from pathlib import Path

from tasks.model.gpu import count_gpus, has_accelerator
from tasks.training.settings import FinetuneResources

CHILD_MODULE = "tasks.training.child"

# A separate file, so accelerate does not read the configuration from the user's home folder
# (https://huggingface.co/docs/accelerate/package_reference/cli).
_LAUNCH_SETTINGS = """\
distributed_type: '{kind}'
num_processes: {num_processes}
gpu_ids: all
main_process_port: 0  # any free port: trainings may run in parallel
mixed_precision: 'no'
use_cpu: {use_cpu}
debug: false
"""


def launch_command(job_path: Path, resources: FinetuneResources) -> list[str]:
    """Write the launcher's settings beside the job and return the launch command."""
    settings_path = job_path.parent / "accelerate.yaml"
    count = num_processes(resources)
    settings = _LAUNCH_SETTINGS.format(
        # On CPUs too: the launcher's other types need MPI.
        kind="MULTI_GPU" if count > 1 else "NO",
        num_processes=count,
        use_cpu="true" if uses_cpu(resources) else "false",
    )
    settings_path.write_text(settings, encoding="utf-8")
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--quiet",  # a failed child reports its own error
        "--config_file", str(settings_path),
        "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", str(num_threads(resources)),
        "--module", CHILD_MODULE, str(job_path),
    ]  # fmt: skip


def uses_cpu(resources: FinetuneResources) -> bool:
    """Return whether training runs on the CPU, by the settings or for lack of an accelerator.

    Accelerate needs this explicitly: without it, processes without a GPU fail to connect.
    """
    return resources.device == "cpu" or not has_accelerator()


def num_processes(resources: FinetuneResources) -> int:
    """Return the number of training processes, by default one per GPU."""
    if resources.num_processes is not None:
        return resources.num_processes
    if resources.device == "cpu":
        return 1
    return max(1, count_gpus())


def num_threads(resources: FinetuneResources) -> int:
    """Return the number of CPU threads of each training process."""
    if resources.num_threads is not None:
        return resources.num_threads
    from_environment = os.environ.get("OMP_NUM_THREADS", "")
    if from_environment.isdigit() and int(from_environment):
        return int(from_environment)
    return max(1, (os.cpu_count() or 1) // num_processes(resources))
