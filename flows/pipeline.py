"""The whole pipeline: six stages, each a flow of its own that is shown as a child of this run.

`stage_definitions` states what each stage computes; results in the store are not computed again.
"""

from typing import cast

from prefect import flow

from flows.context.context import context_of
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.running.begin import begin_run
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


@flow(name="waver", on_running=[begin_run], flow_run_name="waver {request.profile}")
def pipeline(request: RunRequest) -> list[StageReport]:
    """Run the requested stages on a data set, from videos to verdicts."""
    with context_of(request) as context:
        context.store.sweep()
        remove_dead_leases(context.store)
        check_before_start(context)
        # A flow that returns a state gives its caller the state's data.
        return [cast(StageReport, _FLOWS[stage](request)) for stage in context.stages]
