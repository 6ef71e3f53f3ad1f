"""The whole pipeline: six stages in reading order.

Each is a flow of its own, shown as a child of this run, with its own deployment; what is in the
store already is not made again.
"""

from typing import cast

from prefect import flow

from flows.context.open import open_to_work
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.distributed.work_pool import infer_work_pool
from flows.stage import StageReport
from flows.stages import (
    aggregate_flow,
    finetune_flow,
    infer_flow,
    manifest_flow,
    segment_flow,
    transcribe_flow,
)

_FLOWS = {
    "segment": segment_flow,  # videos -> segments of at most 5 s: picture and 16 kHz sound
    "transcribe": transcribe_flow,  # sound -> words with times
    "manifest": manifest_flow,  # segments + words + labels + splits -> one row a segment
    "finetune": finetune_flow,  # train and val rows -> a fine-tuned Qwen3-Omni
    "infer": infer_flow,  # rows + model -> p_ah for each segment
    "aggregate": aggregate_flow,  # predictions -> verdicts, metrics, report
}


@flow(name="waver", flow_run_name="waver {request.profile}")
def pipeline(request: RunRequest) -> list[StageReport]:
    """Run the requested stages on a data set, from videos to verdicts."""
    with open_to_work(request) as run:
        run.store.sweep()
        check_before_start(run)
        if "infer" in run.stages and run.settings.resources.infer.num_nodes > 1:
            infer_work_pool()
        # A flow that returns a state gives its caller the state's data.
        return [cast(StageReport, _FLOWS[stage](request)) for stage in run.stages]
