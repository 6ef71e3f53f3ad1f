"""Mistakes that `waver ablate` reports before any work; test_pipeline_inputs checks its metrics."""

from pathlib import Path

import pytest
import typer

from flows.cli import main as cli
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


def test_a_data_set_without_labels_is_a_mistake(folder: Path) -> None:
    (folder / "data" / "labels.csv").unlink()
    error = fault()
    assert isinstance(error, ConfigError)
    assert "'data' has no labels" in str(error)


def test_settings_with_a_single_modality_are_a_mistake(folder: Path) -> None:
    error = fault("--set", "input.audio=false", "--set", "input.transcript=false")
    assert isinstance(error, ConfigError)
    assert "enable a single modality" in str(error)


def test_forcing_a_stage_that_an_ablation_does_not_run_is_a_mistake(folder: Path) -> None:
    error = fault("--force", "finetune")
    assert isinstance(error, ConfigError)
    assert "Unknown stage to recompute 'finetune': expected one of segment," in str(error)


def test_a_missing_data_folder_a_missing_model_and_a_wrong_file_format_are_mistakes(
    folder: Path,
) -> None:
    assert isinstance(fault("--data", "nowhere"), DataError)
    assert isinstance(fault(model=folder / "data"), ModelError)
    assert ".csv or .parquet" in str(fault("--out", "figures.json"))
