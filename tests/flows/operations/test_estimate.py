import json
from pathlib import Path

import pytest

from flows.operations.estimate import show_estimate
from storage.errors import ConfigError
from storage.store.journal import write_run
from storage.store.store import Store
from tests.builders import a_stage_run


def test_the_table_fits_eighty_columns_and_names_what_its_rates_rest_on(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_run(Store(str(tmp_path)), a_stage_run(video_ms=3_600_000))
    show_estimate(str(tmp_path), 10_000_000, as_json=False)
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    for text in ("10,000,000 hours of video", "segment: 1 run of this store on 1 h", "reference",
                 "6.3 years", "not in the total"):  # fmt: skip
        assert text in output


def test_json_has_the_same_amounts(tmp_path: Path, capsys) -> None:
    write_run(Store(str(tmp_path)), a_stage_run(video_ms=3_600_000, cpu_seconds=20.0))
    show_estimate(str(tmp_path), 2.5, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["hours"] == 2.5
    segment, *_, aggregate = document["stages"]
    assert segment["cpu_seconds"] == 50.0
    assert segment["rate"]["cpu_seconds"] == 20.0
    assert aggregate["is_reference"]


def test_a_store_that_does_not_exist_is_not_created(tmp_path: Path, capsys) -> None:
    show_estimate(str(tmp_path / "none"), 1, as_json=False)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("hours", [0, -1, 10_000_001, float("inf"), float("nan")])
def test_hours_outside_the_range_are_rejected(hours: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected more than 0 and at most 10,000,000"):
        show_estimate(str(tmp_path), hours, as_json=False)
