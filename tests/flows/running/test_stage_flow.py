"""The frame of a stage's flow without a server."""

import logging
from pathlib import Path
from typing import Any

import pytest

from flows.context.context import Context
from flows.context.request import RunRequest
from flows.running import show
from flows.running.stage import StageReport
from flows.running.stage_flow import run_stage_flow
from storage.errors import DataError, StageError
from tasks.log import LOGGER
from tests.flows.running.test_outcome import REPORT


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    shown: dict[str, str] = {}

    def create(markdown: str, key: str, description: str) -> None:
        shown[key] = markdown

    monkeypatch.setattr(show, "create_markdown_artifact", create)
    return shown


def test_warnings_of_a_stage_are_in_its_summary_and_its_report(
    finished: RunRequest, artifacts: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    def run(context: Context) -> StageReport:
        assert context.request.data == finished.data
        LOGGER.warning("segment: two videos are odd")
        return REPORT

    state: Any = run_stage_flow("segment", finished, run)
    assert (state.name, state.message) == ("Completed", "4 videos: 1 cached, 3 computed")
    assert state.result().warnings == ("segment: two videos are odd",)
    assert "- segment: two videos are odd" in artifacts["segment-summary"]


@pytest.mark.parametrize("error", [StageError("The engine died."), KeyError("90001")])
def test_an_error_becomes_a_failed_state_that_raises_it(
    finished: RunRequest, artifacts: dict[str, str], error: Exception
) -> None:
    def run(_: Context) -> StageReport:
        raise error

    state: Any = run_stage_flow("infer", finished, run)
    assert state.is_failed()
    assert state.message.startswith("Stage infer failed: ")
    assert "`waver run --from infer`" in state.message
    assert artifacts == {}
    with pytest.raises(type(error)):
        state.result()


def test_a_request_that_cannot_be_opened_fails_its_flow(tmp_path: Path) -> None:
    request = RunRequest(data=str(tmp_path / "gone"), store=str(tmp_path / "store"))
    with pytest.raises(DataError, match="gone"):
        run_stage_flow("segment", request, lambda _: REPORT).result()


def test_a_stopped_run_is_not_a_failed_one(finished: RunRequest) -> None:
    def stop(_: Context) -> StageReport:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage_flow("segment", finished, stop)
    assert logging.getLogger("waver").handlers == []
