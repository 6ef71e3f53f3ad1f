"""How a failing server affects a waiting run; tests/infra checks the rest against a real one."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Running

from flows.distributed import server_retry, work_pool
from storage.errors import ConfigError, StageError
from tasks.processes.group import allow_children, stop_children

UNREACHABLE = httpx.ConnectError("no route to the server")


def status_error(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://server/api")
    response = httpx.Response(code, request=request)
    return PrefectHTTPStatusError(str(code), request=request, response=response)


def partition(state: Any) -> FlowRun:
    return FlowRun(id=uuid4(), name="partition 1 of 2", flow_id=uuid4(), state=state)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the Prefect server respond with these values, one per call, the last one repeatedly."""

    def respond_with(*responses: Any) -> None:
        left = list(responses)

        def respond(*_: object, **__: object) -> Any:
            response = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(response, Exception):
                raise response
            return response

        @contextmanager
        def client(**_: object) -> Iterator[SimpleNamespace]:
            yield SimpleNamespace(
                read_flow_runs=respond, set_flow_run_state=respond,
                read_workers_for_work_pool=lambda _: [],
            )  # fmt: skip

        monkeypatch.setattr(work_pool, "get_client", client)
        monkeypatch.setattr(work_pool, "run_deployment", respond)
        monkeypatch.setattr(work_pool, "_POLL_SECONDS", 0)

    return respond_with


def test_a_short_outage_of_the_server_is_logged_once_and_waited_out(server, caplog) -> None:
    caplog.set_level(logging.INFO)
    runs, seen = [partition(Running())], []
    ended = partition(Completed())
    server(UNREACHABLE, status_error(503), httpx.ReadTimeout("late"), runs, UNREACHABLE, [ended])
    assert work_pool.wait_for("pool", runs, seen.append) == [ended]
    assert seen == [runs, [ended]], "nothing is reported during an outage"
    assert caplog.text.count("does not respond (ConnectError): partitions keep running") == 2
    assert caplog.text.count("server responds again") == 2
    assert "no worker is online" not in caplog.text, "workers get time to reach the server again"


def test_a_long_outage_of_the_server_ends_the_wait_in_a_sentence(server, monkeypatch) -> None:
    monkeypatch.setattr(server_retry, "_MAX_OUTAGE_SECONDS", 0)
    server(UNREACHABLE)
    with pytest.raises(
        StageError, match=r"partitions keep running: .* run again to wait for them\.$"
    ):
        work_pool.wait_for("pool", [partition(Running())], lambda seen: None)


def test_what_a_server_rejects_is_not_retried(server) -> None:
    server(status_error(422))
    with pytest.raises(PrefectHTTPStatusError):
        work_pool.wait_for("pool", [partition(Running())], lambda seen: None)


def test_a_run_that_is_stopped_during_an_outage_reports_that_its_partitions_keep_running(
    server,
) -> None:
    server(UNREACHABLE)
    stop_children()
    try:
        with pytest.raises(StageError, match="could not be canceled and keep running: run again"):
            work_pool.wait_for(
                "pool", [partition(Running()), partition(Running())], lambda seen: None
            )
    finally:
        allow_children()


@pytest.mark.parametrize("failure", [UNREACHABLE, status_error(503), status_error(409)])
def test_a_server_that_fails_during_submission_is_reported_with_what_it_accepted(
    server, failure
) -> None:
    server("partition 1", "partition 2", failure)
    names = [f"partition {number} of 4" for number in range(1, 5)]
    partitions: dict[str, dict[str, Any]] = {name: {} for name in names}
    message = r"server failed after it had accepted 2 of 4 .* keep running: run again"
    with pytest.raises(StageError, match=message):
        work_pool.submit_all(partitions, "tag")
    server("partition 1")
    assert work_pool.submit_all(partitions, "tag") == ["partition 1"] * 4
    server(status_error(409))
    with pytest.raises(ConfigError, match="another version"):
        work_pool.submit_all(partitions, "tag")
