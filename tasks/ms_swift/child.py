"""The process that has ms-swift train: ``python -m tasks.ms_swift.child JOB``.

As `tasks.training.child`, it prints its progress and a user's error, and nothing that names a
video or quotes a word.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tasks.training.child import run_training_child


def main(job_path: Path) -> int:
    """Have one job trained; gives the exit status."""

    def run(path: Path, say: Callable[[str], None]) -> None:
        from tasks.ms_swift.run import run_swift_job

        run_swift_job(path, say)

    return run_training_child(job_path, run)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
