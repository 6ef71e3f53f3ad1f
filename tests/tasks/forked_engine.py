"""One real engine, opened once; each job read from stdin runs in a fork of it, which may be killed.

``python forked_engine.py JOB`` opens the engine that a job asks for, prints ``open``, and then for
every further job, a line each, the process id of its fork and how that ended.
"""

import io
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
    def opened(job: InferJob, *_: object) -> Iterator[Any]:
        decoding = DecodeSample(store_url=job.store_url, config=job.input)
        with open_preparer(
            decoding, None, job.model_path, max_tokens=job.max_tokens, num_processes=0
        ) as questions:
            yield questions, lambda: engine

    for line in sys.stdin:
        process_id = os.fork()
        if process_id == 0:
            run_and_exit(InferJob.model_validate_json(line), opened)
        print(process_id, file=out)
        print(os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]), file=out)


def run_and_exit(job: InferJob, opened: Any) -> None:
    status = 1
    try:
        run_job(job, io.StringIO(), opened)
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


if __name__ == "__main__":
    main()
