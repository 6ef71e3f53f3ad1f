import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.commands.exit_status import ExitStatus
from flows.context.request import RunRequest
from flows.operations.rejected import Filter, check_retry, retry_rejected, show_rejected
from storage.errors import ConfigError
from tests.flows.upkeep.test_rejected import TIMED_OUT, reject


def test_the_screen_fits_eighty_columns_and_states_what_may_pass(
    finished: RunRequest, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reject(finished)
    show_rejected(finished.store, None, Filter(), None)
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    assert "4 rejected; the reason of 2 may pass" in output
    assert "decoding timed out after 60 s" in output
    show_rejected(finished.store, None, Filter(text="nothing of the kind"), None)
    assert "Nothing is rejected." in capsys.readouterr().out


def test_the_list_is_written_as_csv_parquet_and_json(finished: RunRequest, tmp_path: Path) -> None:
    reject(finished)
    chosen = Filter(stages=("manifest",), text="timed out")
    paths = [tmp_path / f"list{suffix}" for suffix in (".csv", ".parquet", ".json")]
    for path in paths:
        show_rejected(finished.store, finished, chosen, path)
    with paths[0].open() as stream:
        (as_csv,) = csv.DictReader(stream)
    (as_parquet,) = pq.read_table(paths[1]).to_pylist()
    (as_json,) = json.loads(paths[2].read_text())
    assert as_parquet == as_json
    assert as_json["item_id"] == as_csv["item_id"] == TIMED_OUT
    assert as_json["may_pass"] is True


def test_a_retry_runs_only_if_something_may_pass(finished: RunRequest, monkeypatch) -> None:
    requests = []
    monkeypatch.setattr(
        "flows.commands.run.run_and_show", lambda r: requests.append(r) or ExitStatus.DONE
    )
    assert retry_rejected(finished, Filter()) is ExitStatus.DONE
    assert requests == [], "the only rejected segment is damaged"
    reject(finished)
    retry_rejected(finished, Filter())
    assert requests == [finished]


def test_mistakes_are_named(finished: RunRequest, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data"):
        check_retry(None, None)
    with pytest.raises(ConfigError, match="leave out --out"):
        check_retry(finished, tmp_path / "a.csv")
    with pytest.raises(ConfigError, match=r"must end in .csv, .parquet or .json"):
        show_rejected(finished.store, None, Filter(), tmp_path / "a.txt")
