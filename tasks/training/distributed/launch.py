"""The command that starts the processes of a training under accelerate's launcher."""

import os
import sys
from pathlib import Path

from tasks.model.gpu import count_gpus, has_accelerator
from tasks.training.settings import FinetuneResources

CHILD_MODULE = "tasks.training.child"

# Every setting is stated, so that no configuration in the user's home is read into it
# (https://huggingface.co/docs/accelerate/package_reference/cli).
_LAUNCH_SETTINGS = """\
compute_environment: LOCAL_MACHINE
distributed_type: '{kind}'
num_machines: 1
num_processes: {num_processes}
machine_rank: 0
gpu_ids: all
main_process_port: 0  # any free one: trainings may run side by side
mixed_precision: 'no'
use_cpu: {use_cpu}
debug: false
"""


def launch_command(job_path: Path, resources: FinetuneResources) -> list[str]:
    """Write the launcher's settings beside the job; gives the command for all its processes."""
    settings_path = job_path.parent / "accelerate.yaml"
    count = num_processes(resources)
    settings = _LAUNCH_SETTINGS.format(
        # On processors too: the launcher knows no other kind that needs no MPI.
        kind="MULTI_GPU" if count > 1 else "NO",
        num_processes=count,
        use_cpu="true" if on_processor(resources) else "false",
    )
    settings_path.write_text(settings, encoding="utf-8")
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--quiet",  # a failed child speaks for itself
        "--config_file", str(settings_path),
        "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", str(num_threads(resources)),
        "--module", CHILD_MODULE, str(job_path),
    ]  # fmt: skip


def on_processor(resources: FinetuneResources) -> bool:
    """Say whether training runs on the processor: as asked for, or for want of anything else.

    Accelerate has to be told: its processes on a machine without a device would not find together.
    """
    if resources.device == "cpu":
        return True
    return not has_accelerator()


def num_processes(resources: FinetuneResources) -> int:
    """Give the number of processes to train with: as stated, else one a device."""
    if resources.num_processes is not None:
        return resources.num_processes
    if resources.device == "cpu":
        return 1
    return max(1, count_gpus())


def num_threads(resources: FinetuneResources) -> int:
    """Give the number of processor threads that each training process may use."""
    if resources.num_threads is not None:
        return resources.num_threads
    stated = os.environ.get("OMP_NUM_THREADS", "")
    if stated.isdigit() and int(stated):
        return int(stated)
    return max(1, (os.cpu_count() or 1) // num_processes(resources))
