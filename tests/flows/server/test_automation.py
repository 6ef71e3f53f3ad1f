"""The automation's trigger, as Prefect's server reads it; `test_serve` sees it act."""

import pytest
from prefect.server.events.schemas.automations import EventTrigger

from flows.running.outcome import CACHED, COMPLETED, SOME_REJECTED
from flows.server.automation import _automation


@pytest.mark.parametrize("state", [CACHED, COMPLETED, SOME_REJECTED, "Failed", "Cancelled"])
def test_a_run_that_ended_in_any_state_is_not_without_heartbeat(state: str) -> None:
    trigger = EventTrigger.model_validate(_automation(400.0)["trigger"])
    assert trigger.starts_after("prefect.flow-run.heartbeat")
    assert trigger.expects(f"prefect.flow-run.{state}"), "else it becomes Crashed after 400 s"
    assert not trigger.starts_after(f"prefect.flow-run.{state}")
