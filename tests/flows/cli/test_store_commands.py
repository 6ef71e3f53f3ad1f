import typer
from typer.testing import CliRunner

from flows.cli.store_commands import plan


def test_an_estimate_needs_no_data(tmp_path) -> None:
    app = typer.Typer()
    app.command()(plan)
    ended = CliRunner().invoke(app, ["--estimate", "10", "--store", str(tmp_path / "none")])
    assert ended.exit_code == 0
    assert "10 hours of video" in ended.output
