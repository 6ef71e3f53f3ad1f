"""What a server that fails does to whoever waits; all else is held to a real one in tests/infra."""

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

from flows.distributed import server_retry as outage
from flows.distributed import work_pool as machines
from storage.errors import ConfigError, StageError
from tasks.processes.group import allow_children, stop_children

REFUSED = httpx.ConnectError("no route to the server")


def status_error(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://server/api")
    answer = httpx.Response(code, request=request)
    return PrefectHTTPStatusError(str(code), request=request, response=answer)


def share(state: Any) -> FlowRun:
    return FlowRun(id=uuid4(), name="share 1 of 2", flow_id=uuid4(), state=state)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the Prefect server give these answers, one a call, and the last for good."""

    def let(*answers: Any) -> None:
        left = list(answers)

        def answer(*_: object, **__: object) -> Any:
            given = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(given, Exception):
                raise given
            return given

        @contextmanager
        def client(**_: object) -> Iterator[SimpleNamespace]:
            yield SimpleNamespace(
                read_flow_runs=answer, set_flow_run_state=answer,
                read_workers_for_work_pool=lambda _: [],
            )  # fmt: skip

        monkeypatch.setattr(machines, "get_client", client)
        monkeypatch.setattr(machines, "run_deployment", answer)
        monkeypatch.setattr(machines, "_LOOK_SECONDS", 0)

    return let


def test_a_server_that_is_out_for_a_while_is_told_once_and_waited_for(server, caplog) -> None:
    caplog.set_level(logging.INFO)
    runs, seen = [share(Running())], []
    ended = share(Completed())
    server(REFUSED, status_error(503), httpx.ReadTimeout("late"), runs, REFUSED, [ended])
    assert machines.wait_for("pool", runs, seen.append) == [ended]
    assert seen == [runs, [ended]], "nothing is told of what nobody saw"
    assert caplog.text.count("does not answer (ConnectError): the shares go on") == 2
    assert caplog.text.count("server answers again") == 2
    assert "no worker takes shares" not in caplog.text, "they are given time to be heard of again"


def test_a_server_that_stays_away_ends_the_wait_in_a_sentence(server, monkeypatch) -> None:
    monkeypatch.setattr(outage, "_PATIENCE_SECONDS", 0)
    server(REFUSED)
    with pytest.raises(StageError, match=r"shares .* go on: .* run again to wait for them\.$"):
        machines.wait_for("pool", [share(Running())], lambda seen: None)


def test_what_a_server_refuses_is_not_waited_out(server) -> None:
    server(status_error(422))
    with pytest.raises(PrefectHTTPStatusError):
        machines.wait_for("pool", [share(Running())], lambda seen: None)


def test_a_run_that_is_stopped_while_the_server_is_out_says_that_its_shares_go_on(server) -> None:
    server(REFUSED)
    stop_children()
    try:
        with pytest.raises(StageError, match="could be, and those go on: run again"):
            machines.wait_for("pool", [share(Running()), share(Running())], lambda seen: None)
    finally:
        allow_children()


@pytest.mark.parametrize("failure", [REFUSED, status_error(503), status_error(409)])
def test_a_server_that_fails_among_the_shares_is_told_with_what_it_took(server, failure) -> None:
    server("share 1", "share 2", failure)
    shares: dict[str, dict[str, Any]] = {f"share {number} of 4": {} for number in range(1, 5)}
    message = r"^The Prefect server failed when it had taken 2 of 4 shares .* go on: run again"
    with pytest.raises(StageError, match=message):
        machines.submit_all(shares, "tag")
    server("share 1")
    assert machines.submit_all(shares, "tag") == ["share 1"] * 4
    server(status_error(409))
    with pytest.raises(ConfigError, match="another version"):
        machines.submit_all(shares, "tag")
