from dataclasses import replace

import httpx
import pytest
from prefect.exceptions import CrashedRun
from typer.testing import CliRunner

from flows.cli.main import app
from flows.context.request import RunRequest
from flows.context.stage_names import STAGES
from flows.running.outcome import completed, failed, failure_message, state_name
from flows.running.stage import StageReport
from storage.errors import LeakageError, StageError

REPORT = StageReport(
    stage="segment", unit="videos", variant_id="v", num_expected=4, num_cached=1, num_computed=3,
    num_rejected=0, seconds=2.0,
)  # fmt: skip
CACHED = replace(REPORT, num_cached=4, num_computed=0)
REJECTED = replace(REPORT, num_rejected=2)
INFERRED = replace(REPORT, stage="infer", unit="segments", num_expected=90, num_rejected=1)


@pytest.mark.parametrize(
    ("reports", "name"),
    [
        ([REPORT], "Completed"),
        ([CACHED], "Cached"),
        ([REJECTED], "SomeRejected"),
        ([replace(CACHED, num_rejected=2)], "SomeRejected"),
        ([CACHED, REPORT], "Completed"),
        ([CACHED, CACHED], "Cached"),
        ([REJECTED, REPORT, CACHED], "SomeRejected"),
    ],
)
def test_the_name_of_a_state_shows_if_items_were_rejected_or_nothing_was_computed(
    reports: list[StageReport], name: str
) -> None:
    assert state_name(reports) == name
    state = completed(reports, reports)
    assert (state.name, state.is_completed()) == (name, True)
    assert state.result() == reports


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ([REPORT], "4 videos: 1 cached, 3 computed"),
        ([REJECTED], "2 of 4 videos rejected: see artifact segment-rejected"),
        ([REPORT, replace(INFERRED, num_rejected=0)], "computed: segment 3, infer 3"),
        ([CACHED, CACHED], "nothing had to be computed"),
        (
            [REJECTED, INFERRED],
            "segment: 2 of 4 videos rejected: see artifact segment-rejected; "
            "infer: 1 of 90 segments rejected: see artifact infer-rejected",
        ),
    ],
)
def test_the_message_of_a_state_has_the_counts(reports: list[StageReport], message: str) -> None:
    assert completed(reports, None).message == message


@pytest.mark.parametrize("stage", STAGES)
def test_a_failure_states_the_stage_the_cause_and_a_command_that_exists(stage: str) -> None:
    error = LeakageError("3 participants are in two splits: see `waver check`.", ("90001",))
    for request, option in (
        (RunRequest(data="data"), "--from"),
        (RunRequest(data="data", only=(stage,)), "--only"),  # type: ignore[arg-type]
    ):
        message = failure_message(error, request, stage)
        assert message == (
            f"Stage {stage} failed: 3 participants are in two splits: see `waver check`. Finished "
            f"results are kept. To continue, retry this run, or run `waver run {option} {stage}` "
            "with the other options as before."
        )
        ended = CliRunner().invoke(app, ["run", option, stage, "--data", "/nowhere"])
        assert "/nowhere" in str(ended.exception), "the command line knows the option"


def test_a_failure_before_the_first_stage_names_none() -> None:
    message = failure_message(StageError("The model is missing."), RunRequest(data="data"))
    assert message.startswith("The run did not start: The model is missing. ")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("http://10.0.0.1/participant-90001"), "Prefect failed (ConnectError)"),
        (CrashedRun("90001"), "Prefect failed (CrashedRun)"),
        (OSError(28, "No space left on device", "/90001.mp4"), "'No space left on device'"),
        (MemoryError("90001"), "unexpected MemoryError in"),
        (KeyError("90001"), "unexpected KeyError in test_outcome"),
    ],
)
def test_the_text_of_an_unforeseen_error_stays_out_of_the_message(
    error: Exception, reason: str
) -> None:
    def test_outcome() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        test_outcome()
    message = failure_message(caught.value, RunRequest(data="data"), "infer")
    assert message.startswith("Stage infer failed: ")
    assert reason.partition(" in ")[0] in message
    assert "90001" not in message


def test_a_failed_state_has_the_message_and_raises_the_error() -> None:
    error = StageError("The engine died.")
    state = failed(error, "Stage infer failed: the engine died.")
    assert (state.name, state.message) == ("Failed", "Stage infer failed: the engine died.")
    with pytest.raises(StageError, match="The engine died"):
        state.result()
