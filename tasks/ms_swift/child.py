"""The process that trains with ms-swift: ``python -m tasks.ms_swift.child JOB``.

Like `tasks.training.child`, its output contains no video names and no transcripts.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tasks.training.child import run_training_child


def main(job_path: Path) -> int:
    """Run one job; returns the exit status."""

    def run(path: Path, report: Callable[[str], None]) -> None:
        from tasks.ms_swift.run import run_swift_job

        run_swift_job(path, report)

    return run_training_child(job_path, run)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
