"""What `waver ablate` refuses before any work; its figures are held to in test_pipeline_inputs."""

from pathlib import Path

import pytest
import typer

from flows.commands import cli
from storage.errors import ConfigError, DataError, ModelError, WaverError

MODEL = Path(__file__).parents[3] / "infra" / "sandbox" / "models" / "omni-base"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.mp4").write_bytes(b"")
    (tmp_path / "data" / "labels.csv").write_text("video,label,split\none.mp4,1,test\n")
    return tmp_path


def fault(*options: str, model: object = MODEL) -> WaverError:
    command = ["ablate", "--data", "data", "--model", str(model), "--profile", "sandbox", *options]
    with pytest.raises(WaverError) as caught:
        typer.main.get_command(cli.app).main(args=command, standalone_mode=False)
    assert "\n" not in str(caught.value)
    return caught.value


def test_data_without_labels_has_nothing_to_measure_on(folder: Path) -> None:
    (folder / "data" / "labels.csv").unlink()
    error = fault()
    assert isinstance(error, ConfigError)
    assert "'data' has no labels" in str(error)


def test_settings_that_show_one_thing_alone_leave_nothing_to_take_away(folder: Path) -> None:
    error = fault("--set", "input.audio=false", "--set", "input.transcript=false")
    assert isinstance(error, ConfigError)
    assert "show the model one thing alone" in str(error)


def test_a_stage_that_an_ablation_does_not_run_cannot_be_forced(folder: Path) -> None:
    error = fault("--force", "finetune")
    assert isinstance(error, ConfigError)
    assert "Unknown stage to recompute 'finetune': expected one of segment," in str(error)


def test_a_missing_folder_and_a_folder_that_is_no_model_are_named(folder: Path) -> None:
    assert isinstance(fault("--data", "nowhere"), DataError)
    assert isinstance(fault(model=folder / "data"), ModelError)
    assert ".csv or .parquet" in str(fault("--out", "figures.json"))
