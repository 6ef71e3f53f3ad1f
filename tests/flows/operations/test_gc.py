import json
from pathlib import Path

import pytest

from flows.context.context import open_context
from flows.context.request import RunRequest
from flows.operations.gc import collect_and_show
from storage.errors import ConfigError, DataError
from tests.flows.upkeep.test_collect import age, everything, with_settings


def test_a_dry_run_lists_sizes_and_changes_nothing(
    finished: RunRequest, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    context = open_context(with_settings(finished, "segment.crf=20"))
    age(finished.store)
    before = everything(finished.store)
    collect_and_show(finished.store, (), 0, delete=False, as_json=False)
    output = capsys.readouterr().out
    assert context.segment.path in output
    assert "run again with --delete. Nothing was changed." in output
    assert "5 for a report" in output
    assert max(map(len, output.splitlines())) <= 80
    assert everything(finished.store) == before
    collect_and_show(finished.store, (), 0, delete=True, as_json=False)
    assert "Removed" in capsys.readouterr().out
    collect_and_show(finished.store, (), 0, delete=False, as_json=False)
    assert "Nothing to remove." in capsys.readouterr().out


def test_json_lists_every_file(finished: RunRequest, capsys) -> None:
    context = open_context(with_settings(finished, "segment.crf=20"))
    age(finished.store)
    collect_and_show(finished.store, (), 0, delete=False, as_json=True)
    document = json.loads(capsys.readouterr().out)
    paths = [path for each in document["garbage"] for path in each["paths"]]
    assert context.segment.identity_path in paths
    assert document["deleted"] is False


def test_mistakes_are_named(finished: RunRequest, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--keep-days is -1"):
        collect_and_show(finished.store, (), -1, delete=True, as_json=False)
    with pytest.raises(ConfigError, match="no profile 'typo'"):
        collect_and_show(finished.store, ("typo",), 0, delete=True, as_json=False)
    with pytest.raises(DataError, match="There is no store"):
        collect_and_show(str(tmp_path / "none"), (), 0, delete=True, as_json=False)
