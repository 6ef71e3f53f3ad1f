"""A deployment's flow for tests: its subflow waits in a task until a file appears."""

import time
from pathlib import Path

from prefect import flow, task
from prefect.concurrency import _leases

from flows.running.begin import begin_run

_leases._RENEWAL_FRACTION = 0.01  # renew the lease every 3 s, not every 225 s


@task
def wait_for_file(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.2)


@flow(name="slow-stage")
def stage(path: str) -> None:
    wait_for_file.submit(path).wait()


@flow(name="slow", on_running=[begin_run])
def slow(path: str) -> None:
    stage(path)
