"""How a flow run ends in Prefect: the name of its state, and a message for its reader."""

from collections.abc import Sequence
from typing import Any

import httpx
from prefect import State
from prefect.exceptions import PrefectException
from prefect.states import Completed, Failed

from flows.context.request import RunRequest
from flows.running.logs import log_failure
from flows.running.stage import StageReport
from storage.errors import WaverError, unexpected_reason
from tasks.ui_artifacts import format_count

CACHED = "Cached"
COMPLETED = "Completed"
SOME_REJECTED = "SomeRejected"


def state_name(reports: Sequence[StageReport]) -> str:
    """Return the name of the state of a run of these stages.

    ``SomeRejected`` if a stage rejected items, else ``Cached`` if none had anything to compute.
    """
    if any(report.num_rejected for report in reports):
        return SOME_REJECTED
    return CACHED if all(report.is_cached for report in reports) else COMPLETED


def completed(reports: Sequence[StageReport], data: Any) -> State[Any]:
    """Return the final state of a run that completed these stages; ``data`` is for its caller."""
    message = _outcome(reports[0]) if len(reports) == 1 else _outcomes(reports)
    return Completed(name=state_name(reports), message=message, data=data)


def _outcome(report: StageReport) -> str:
    items = format_count(report.num_expected, report.unit)
    counts = f"{items}: {report.num_cached} cached, {report.num_computed} computed"
    if not report.num_rejected:
        return counts
    return f"{report.rejected_fraction}: see artifact {report.stage}-rejected"


def _outcomes(reports: Sequence[StageReport]) -> str:
    rejected = [f"{r.stage}: {_outcome(r)}" for r in reports if r.num_rejected]
    if rejected:
        return "; ".join(rejected)
    computed = [f"{r.stage} {r.num_computed}" for r in reports if r.num_computed]
    return f"computed: {', '.join(computed)}" if computed else "nothing had to be computed"


def failed(error: Exception, message: str) -> State[Any]:
    """Log the failure, and return the run's final state; Prefect raises ``error`` to its caller."""
    log_failure(message)
    return Failed(message=message, data=error)


def failure_message(error: Exception, request: RunRequest, stage: str | None = None) -> str:
    """Return which stage failed, if any had started, why, and how to continue.

    The message names no video and no participant.
    """
    reason = reason_of(error)
    if stage is None:
        return f"The run did not start: {reason} Then retry this run, or run again."
    option = "--only" if stage in request.only else "--from"
    return (
        f"Stage {stage} failed: {reason} Finished results are kept. To continue, retry this run, "
        f"or run `waver run {option} {stage}` with the other options as before."
    )


def reason_of(error: Exception) -> str:
    """Describe an error in a sentence; the text of one that nobody foresaw may name a person."""
    if isinstance(error, WaverError):
        reason = str(error)
    elif isinstance(error, httpx.HTTPError | PrefectException):
        reason = f"Prefect failed ({type(error).__name__}): check that its server responds"
    elif isinstance(error, OSError) and error.strerror:
        reason = f"the system reports {error.strerror!r}"
    else:
        reason = unexpected_reason(error)
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."
