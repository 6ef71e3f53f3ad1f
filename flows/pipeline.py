"""The whole pipeline: six stages, each a flow of its own that is shown as a child of this run.

`stage_definitions` states what each stage computes; results in the store are not computed again.
"""

from pathlib import Path
from typing import cast

from prefect import State, flow
from prefect.runtime import flow_run

from flows.context.context import context_of
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.context.stage_names import STAGES, StageName
from flows.running.begin import begin_run
from flows.running.logs import collect_warnings, log_to_parent
from flows.running.outcome import completed, failed, failure_message
from flows.running.show import RunSummary
from flows.running.stage import StageReport
from flows.stages import (
    aggregate_flow,
    finetune_flow,
    infer_flow,
    manifest_flow,
    segment_flow,
    transcribe_flow,
)
from storage.store.lease import remove_dead_leases

_FLOWS = {
    "segment": segment_flow,  # videos -> segments of at most 5 s: video and 16 kHz audio
    "transcribe": transcribe_flow,  # audio -> transcript: words with times
    "manifest": manifest_flow,  # segments + transcripts + labels -> a sample per segment
    "finetune": finetune_flow,  # training and validation samples -> a fine-tuned Qwen3-Omni
    "infer": infer_flow,  # samples + model -> a prediction per segment: p_ah
    "aggregate": aggregate_flow,  # predictions -> verdict per video, metrics, report
}


def _run_name() -> str:
    """Name a run by its profile and what it runs; a path may name a person, so its stem only."""
    request = RunRequest.model_validate(flow_run.parameters["request"])
    stages = request.stages()
    what = "all stages" if stages == STAGES else ", ".join(stages)
    partition = f", partition {request.partition}" if request.partition else ""
    return f"waver {Path(request.profile).stem}: {what}{partition}"


@flow(name="waver", on_running=[begin_run], flow_run_name=_run_name)
def pipeline(request: RunRequest) -> State[list[StageReport]]:
    """Run the requested stages on a data set, from videos to verdicts."""
    reports: list[StageReport] = []
    stages: tuple[StageName, ...] = ()
    with collect_warnings() as warnings, log_to_parent():
        summary = RunSummary(warnings)
        try:
            with context_of(request) as context:
                context.store.sweep()
                remove_dead_leases(context.store)
                check_before_start(context)
                stages = context.stages
                for stage in stages:
                    summary.update(stages, reports)
                    # A flow that returns a state gives its caller the state's data.
                    reports.append(cast(StageReport, _FLOWS[stage](request)))
        except Exception as error:  # noqa: BLE001 - of any kind: it becomes the state's message
            failed_stage = stages[len(reports)] if stages else None
            message = failure_message(error, request, failed_stage)
            summary.update(stages, reports, message)
            return failed(error, message)
        summary.update(stages, reports)
    return completed(reports, reports)
