"""A real engine, opened once, of which every job runs in a fork that a test can kill.

``python forked_engine.py JOB`` opens the engine of a job and prints ``open``. For every further job
on stdin it prints, on two lines, the process id of its fork and the exit code. What a fork reports
is in `report_path_of(job.job_path)`.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.inference.child import run_job
from tasks.inference.engine import Engine
from tasks.inference.job import InferJob
from tasks.inference.preparation import DecodeSample, open_preparer
from tasks.processes.child_frame import redirect_output
from tasks.processes.error_file import log_path_of


def main() -> None:
    first = InferJob.model_validate_json(Path(sys.argv[1]).read_text())
    out = redirect_output(log_path_of(first.job_path))
    engine = Engine(
        first.model_path, dtype=first.dtype, max_tokens=first.max_tokens, resources=first.resources
    )
    print("open", file=out)

    @contextmanager
    def open_fork(job: InferJob, *_: object) -> Iterator[Any]:
        decode = DecodeSample(store_url=job.store_url, config=job.input)
        with open_preparer(
            decode, None, job.model_path, max_tokens=job.max_tokens, num_processes=0
        ) as prepare:
            yield prepare, lambda: engine

    for line in sys.stdin:
        process_id = os.fork()
        if process_id == 0:
            run_and_exit(InferJob.model_validate_json(line), open_fork)
        print(process_id, file=out)
        print(os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]), file=out)


def report_path_of(job_path: Path) -> Path:
    return job_path.with_suffix(".lines")


def run_and_exit(job: InferJob, open_fork: Any) -> None:
    status = 1
    try:
        with report_path_of(job.job_path).open("w") as report:
            run_job(job, report, open_fork)
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


if __name__ == "__main__":
    main()
