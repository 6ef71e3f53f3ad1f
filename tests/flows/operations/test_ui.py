from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flows.operations import ui
from flows.server.local_server import Listen


def test_the_ui_is_served_at_the_printed_address_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[str] = []

    @contextmanager
    def server(listen: Listen) -> Iterator[str]:
        yield f"http://127.0.0.1:{listen.port}/api"
        events.append("server stopped")

    def sleep(seconds: float) -> None:
        events.append("served")
        raise KeyboardInterrupt

    monkeypatch.setattr(ui, "prefect_server", server)
    monkeypatch.setattr(ui.time, "sleep", sleep)
    ui.serve_ui(4321)
    assert events == ["served", "server stopped"]
    printed = capsys.readouterr().out
    assert "http://127.0.0.1:4321 " in printed
    assert "/api" not in printed
