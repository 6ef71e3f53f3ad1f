from pathlib import Path

import pytest
import typer

from flows.cli import main as cli
from storage.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("predict", "a.mp4", "--model", "m", "--force", "finetune"), ("finetune", "infer")),
        (("ablate", "--data", "d", "--model", "m", "--force", "report"), ("report", "infer")),
    ],
)
def test_only_a_stage_that_the_command_runs_can_be_forced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    facts: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        typer.main.get_command(cli.app).main(args=list(arguments), standalone_mode=False)
    for fact in facts:
        assert fact in str(caught.value)
    assert list(tmp_path.iterdir()) == []
