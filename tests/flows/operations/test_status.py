import json
from pathlib import Path

import pytest

from flows.context.request import RunRequest
from flows.operations.status import show_status
from storage.errors import DataError
from storage.store.journal import write_run
from storage.store.store import Store
from tests.builders import a_stage_run


def test_the_screen_fits_eighty_columns_and_marks_the_current_variants(
    finished: RunRequest, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_run(Store(finished.store), a_stage_run(stage="transcribe", failed=True))
    show_status(finished.store, finished, as_json=False)
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output
    assert output.count("●") == 5, "four variants and the legend"
    for text in ("Last runs", "failed", "damaged", "At work now: nobody."):
        assert text in output


def test_json_has_typed_records(finished: RunRequest, capsys) -> None:
    show_status(finished.store, None, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["variants"][0]["stage"] == "segment"
    assert document["rejected"] == [{"stage": "infer", "reason": "damaged", "count": 1}]
    assert document["working"] == []


def test_a_store_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no store"):
        show_status(str(tmp_path / "none"), None, as_json=False)
