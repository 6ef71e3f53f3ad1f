"""The frame of every stage's flow: its context, its final state, and what the UI shows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prefect import State

from flows.context.context import Context
from flows.context.preflight import stage_context
from flows.context.request import RunRequest
from flows.context.stage_names import StageName
from flows.running.logs import collect_warnings
from flows.running.outcome import completed, failed, failure_message
from flows.running.show import show_stage
from flows.running.stage import StageReport


def run_stage_flow(
    stage: StageName, request: RunRequest, run: Callable[[Context], StageReport]
) -> State[Any]:
    """Run a stage in the context of a request, and return the final state of its flow run.

    That is a failed state if ``run`` raises, which Prefect raises again to the flow's caller.
    """
    try:
        with collect_warnings() as warnings, stage_context(request, stage) as context:
            report = run(context)
            report = replace(report, warnings=tuple(warnings))
            show_stage(report)
    except Exception as error:  # noqa: BLE001 - of any kind: it becomes the state's message
        return failed(error, failure_message(error, request, stage))
    return completed([report], report)
