"""Submitting a stage's shards as Prefect tasks, and waiting for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture, wait

from tasks.processes.group import allow_children, stop_children


def submit_all(
    task: Task[..., Any], calls: Sequence[Mapping[str, Any]]
) -> list[PrefectFuture[Any]]:
    """Submit a task once per mapping of arguments, and wait for all of these task runs.

    A run that is stopped terminates its child processes and does not wait.
    """
    allow_children()
    try:
        futures = [task.submit(**arguments) for arguments in calls]
        wait(futures)
    except BaseException:  # Ctrl-C, or the exception that Prefect raises on SIGTERM
        stop_children()
        raise
    return futures
