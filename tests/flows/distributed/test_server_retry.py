import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from flows.distributed import server_retry
from flows.distributed.server_retry import ServerRetry, is_outage
from storage.errors import StageError

UNREACHABLE = httpx.ConnectError("no route to the server")


def status_error(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://server/api")
    response = httpx.Response(code, request=request)
    return PrefectHTTPStatusError(str(code), request=request, response=response)


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (UNREACHABLE, True), (httpx.ReadTimeout("late"), True), (status_error(503), True),
        (status_error(429), True), (status_error(408), True), (status_error(404), False),
        (status_error(422), False), (ValueError("a bug"), False),
    ],
)  # fmt: skip
def test_an_unreachable_failing_or_busy_server_is_an_outage(error, outage) -> None:
    assert is_outage(error) is outage


def test_an_outage_is_measured_from_its_first_error_and_ends_with_a_response(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter((0.0, 100.0, 299.0, 400.0, 690.0, 701.0))
    monkeypatch.setattr(server_retry.time, "monotonic", lambda: next(times))
    retry = ServerRetry()
    for _ in range(3):
        retry.tolerate(UNREACHABLE)
    retry.reset()
    for _ in range(2):
        retry.tolerate(UNREACHABLE)
    assert caplog.text.count("does not respond (ConnectError)") == 2
    with pytest.raises(StageError, match=r"not responded for 301 s \(ConnectError\)"):
        retry.tolerate(UNREACHABLE)
    with pytest.raises(PrefectHTTPStatusError):
        retry.tolerate(status_error(422))
