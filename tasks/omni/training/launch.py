"""The command that starts a training process under accelerate's launcher."""

import os
import sys
from pathlib import Path

from tasks.omni.training.settings import FinetuneResources

CHILD_MODULE = "tasks.omni.training.child"

# Every setting is stated, so that no configuration in the user's home is read into it
# (https://huggingface.co/docs/accelerate/package_reference/cli).
_LAUNCH_SETTINGS = """\
compute_environment: LOCAL_MACHINE
distributed_type: 'NO'
num_machines: 1
num_processes: 1
mixed_precision: 'no'
use_cpu: {use_cpu}
debug: false
"""


def launch_command(job_path: Path, resources: FinetuneResources) -> list[str]:
    """Write the launcher's settings beside the job; gives the command for one process."""
    settings_path = job_path.parent / "accelerate.yaml"
    use_cpu = "true" if resources.device == "cpu" else "false"
    settings_path.write_text(_LAUNCH_SETTINGS.format(use_cpu=use_cpu), encoding="utf-8")
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--quiet",  # a failed child speaks for itself
        "--config_file", str(settings_path),
        "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", str(num_threads(resources)),
        "--module", CHILD_MODULE, str(job_path),
    ]  # fmt: skip


def num_threads(resources: FinetuneResources) -> int:
    """Give the number of processor threads that training may use."""
    if resources.num_threads is not None:
        return resources.num_threads
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdigit() and int(stated) else os.cpu_count() or 1
