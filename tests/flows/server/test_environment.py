import base64
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.server.connection import is_healthy
from flows.server.environment import prepare_environment, worker_environment
from storage.errors import ConfigError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of its own, restored after the test."""
    for name in (*os.environ,):
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))


OWN, EXTERNAL = "own:secret", "external:login"


@pytest.fixture
def received() -> Iterator[tuple[str, list[str | None]]]:
    """The address of an HTTP server on this computer, and the logins that it was sent."""
    logins: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api", logins
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("is_external", "login", "sent"),
    [
        (True, None, None), (True, EXTERNAL, EXTERNAL),
        (False, None, OWN), (False, EXTERNAL, EXTERNAL),
    ],
)  # fmt: skip
def test_the_login_of_an_own_server_is_sent_to_no_other_one(
    received: tuple[str, list[str | None]],
    tmp_path: Path,
    is_external: bool,
    login: str | None,
    sent: str | None,
) -> None:
    api_url, logins = received
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = OWN
    if is_external:
        os.environ["PREFECT_API_URL"] = api_url
    if login:
        os.environ["PREFECT_API_AUTH_STRING"] = login
    prepare_environment(tmp_path)
    assert is_healthy(api_url)
    header = None if sent is None else f"Basic {base64.b64encode(sent.encode()).decode()}"
    assert logins == [header]
    assert worker_environment(api_url).get("PREFECT_API_AUTH_STRING") == sent


def test_the_history_is_created_and_the_console_log_silenced(tmp_path: Path) -> None:
    prepare_environment(tmp_path / "deep" / "history")
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "deep" / "history")
    assert (tmp_path / "deep" / "history").is_dir()
    assert os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "CRITICAL"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_variables_of_the_user_are_kept(tmp_path: Path) -> None:
    os.environ["PREFECT_HOME"] = str(tmp_path / "mine")
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "DEBUG"
    prepare_environment(tmp_path / "history")
    assert os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "DEBUG"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_unwritable_history_is_a_mistake_that_names_the_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written .* PREFECT_HOME"):
        prepare_environment(tmp_path / "file" / "history")
