from pathlib import Path

import pytest
import typer

from flows.cli import main as cli
from storage.errors import ConfigError

EXPORT = ("--purpose", "internal", "--data", "data", "--out", "out")


def run(*arguments: str) -> None:
    typer.main.get_command(cli.app).main(args=list(arguments), standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("export", "training", *EXPORT), ("--format", "hf", "ms-swift")),
        (("export", "training", *EXPORT, "--format", "csv"), ("'csv'", "hf", "ms-swift")),
        (("export", "verdicts", *EXPORT, "--format", "hf"), ("'hf'", "--out")),
        (("export", "segment", *EXPORT), ("'segment'", "verdicts")),
        (("export", "verdicts", *EXPORT, "--purpose", "fun"), ("'fun'", "internal")),
        (("run", "--data", "data", "--from", "train"), ("'train'", "finetune")),
        (("run", "--data", "data", "--force", "label"), ("'label'", "manifest")),
    ],
)
def test_an_unknown_choice_is_rejected_with_the_valid_ones_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    facts: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        run(*arguments)
    for fact in facts:
        assert fact in str(caught.value)
    assert list(tmp_path.iterdir()) == []
