"""The training process: ``python -m tasks.training.child JOB``, started by accelerate.

Its output contains no video names and no transcripts.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tasks.processes.child_frame import run_as_child

_OUT_OF_MEMORY = (
    "Training ran out of memory: set resources.finetune.gradient_checkpointing = true, lower "
    "resources.finetune.micro_batch_size or cache_mib or input.max_pixels, or use method lora with "
    "precision bfloat16."
)
Run = Callable[[Path, Callable[[str], None]], None]


def main(job_path: Path) -> int:
    """Run one job; returns the exit status."""

    def run(path: Path, report: Callable[[str], None]) -> None:
        from tasks.training.run import run_job

        run_job(path, report)

    return run_training_child(job_path, run)


def run_training_child(job_path: Path, run: Run) -> int:
    """Run a trainer's job; ``run`` also receives a function that prints a line for the parent."""
    return run_as_child(
        "Training",
        job_path,
        lambda out: run(job_path, lambda line: print(line, file=out)),
        out_of_memory=_OUT_OF_MEMORY,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
