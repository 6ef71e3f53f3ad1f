"""The training process: ``python -m tasks.training.child JOB``, started by accelerate.

MediaHashes its progress, and a user's error as ``error: <sentence>``; all that the libraries print goes
to a log beside the job. No line names a video or quotes a word.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from storage.errors import WaverError
from tasks.processes.child_process import ERROR, end_with_parent, error_line, is_lack_of_memory
from tasks.training.job import LOG_NAME

_OUT_OF_MEMORY = (
    "Training ran out of memory: set resources.finetune.gradient_checkpointing = true, lower "
    "resources.finetune.micro_batch_size or cache_mib or input.max_pixels, or use method lora with "
    "precision bfloat16."
)


def main(job_path: Path) -> int:
    """Run one job; gives the exit status."""

    def run(path: Path, say: Callable[[str], None]) -> None:
        from tasks.training.run import run_job

        run_job(path, say)

    return run_quietly(job_path, run)


def run_quietly(job_path: Path, run: Callable[[Path, Callable[[str], None]], None]) -> int:
    """Run a job; gives the exit status: 0, 2 for a user's error, 1 for what nobody foresaw."""
    end_with_parent()
    say = _quiet(job_path.parent / LOG_NAME)
    try:
        run(job_path, say)
    except WaverError as error:
        traceback.print_exc()
        say(error_line(error))
        return 2
    except Exception as error:  # noqa: BLE001 - its text may quote a person: it stays in the log
        traceback.print_exc()
        failed = f"Training failed ({type(error).__name__})."
        say(f"{ERROR}{_OUT_OF_MEMORY if is_lack_of_memory(error) else failed}")
        return 1
    return 0


def _quiet(log_path: Path) -> Callable[[str], None]:
    """Send what any library prints to a log; gives what prints a line for the parent."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    with log_path.open("ab") as log:  # of all processes that train together
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())

    def say(line: str) -> None:
        out.write(line + "\n")

    return say


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
