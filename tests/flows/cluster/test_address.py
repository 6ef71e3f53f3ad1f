import importlib.util
import socket
import threading
import time

import pytest

from flows.cluster.address import check_cluster, host_and_port
from flows.context.context import open_context
from flows.context.overrides import read_overrides
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from storage.errors import ConfigError, ToolError


@pytest.mark.parametrize(
    ("address", "parts"), [("10.0.0.1:6379", ("10.0.0.1", 6379)), ("[::1]:80", ("::1", 80))]
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address) == parts


@pytest.mark.parametrize(
    "address", ["head", "head:", ":6379", "head:port", "head:99999", "ray://h:1", ""]
)
def test_a_malformed_address_is_named_with_its_form(address: str) -> None:
    with pytest.raises(ConfigError, match=r"ray_address is .*: expected HOST:PORT"):
        host_and_port(address)


def test_a_port_on_which_nobody_listens_is_one_sentence_within_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ConfigError, match=rf"No Ray cluster answers at .*{address}.*ray start"):
            check_cluster(address)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_is_no_cluster_is_one_sentence_within_seconds(reply: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConfigError, match="No Ray cluster answers"):
            check_cluster(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_a_run_reports_the_missing_extra_or_cluster_before_it_opens_a_video(
    finished: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ("resources.runner=ray", "resources.ray_address=127.0.0.1:1")
    request = finished.model_copy(update={"settings": read_overrides(overrides)})
    with pytest.raises(ConfigError, match=r"No Ray cluster answers at .*'127\.0\.0\.1:1'"):
        check_before_start(open_context(request))
    really_find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "prefect_ray" else really_find(name, *rest),
    )
    with pytest.raises(ToolError, match=r"pip install 'waver\[ray\]'"):
        check_before_start(open_context(request))


def test_a_runner_without_an_address_is_rejected_with_the_settings(finished: RunRequest) -> None:
    request = finished.model_copy(update={"settings": read_overrides(("resources.runner=ray",))})
    with pytest.raises(ConfigError, match="'ray' needs ray_address"):
        open_context(request)
