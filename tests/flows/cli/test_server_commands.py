import pytest
import typer
from typer.testing import CliRunner

from flows.cli.server_commands import ui


@pytest.mark.parametrize("port", ["70000", "-1", "many"])
def test_a_port_that_does_not_exist_is_a_mistake(port: str) -> None:
    app = typer.Typer()
    app.command()(ui)
    ended = CliRunner().invoke(app, ["--port", port])
    assert ended.exit_code == 2
