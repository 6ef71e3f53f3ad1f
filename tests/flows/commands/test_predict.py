"""Mistakes that `waver predict` reports before any work; test_pipeline checks its predictions."""

import os
from pathlib import Path

import pytest
import typer

from flows.cli import main as cli
from flows.commands.predict import find_videos
from storage.datasets.erased import mark_erased
from storage.errors import ConfigError, DataError, ModelError, WaverError
from storage.store.store import Store

MODEL = Path(__file__).parents[3] / "infra" / "sandbox" / "models" / "omni-base"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name in ("a ü.mp4", "x/same.mp4", "y/same.mp4", "90001/one.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def fault(*arguments: str, model: object = MODEL) -> WaverError:
    command = ["predict", *arguments, "--model", str(model), "--profile", "sandbox"]
    with pytest.raises(WaverError) as caught:
        typer.main.get_command(cli.app).main(args=command, standalone_mode=False)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_path_that_is_no_file_is_a_mistake_and_no_store_is_created(folder: Path) -> None:
    error = fault("a ü.mp4", "gone.mp4", "x")
    assert isinstance(error, DataError)
    assert "2 of 3 paths cannot be used: 'gone.mp4' does not exist" in str(error)
    assert "'x' is a folder: name the videos in it" in error.details[0]
    os.mkfifo("pipe.mp4")
    assert str(fault("pipe.mp4")).startswith("'pipe.mp4' is not a file")
    message = str(fault("a u\u0308.mp4"))
    assert message == r"'a u\u0308.mp4' does not exist, but 'a ü.mp4' does: name that file."
    assert not (folder / ".waver").exists()


def test_an_unusable_model_or_setting_is_a_mistake_and_no_store_is_created(
    folder: Path,
) -> None:
    assert isinstance(fault("a ü.mp4", model=folder), ModelError)
    assert isinstance(fault("a ü.mp4", "--set", "input.fps=-1"), ConfigError)
    assert ".csv, .parquet or .json" in str(fault("a ü.mp4", "--out", "a ü.mp4"))
    assert not (folder / ".waver").exists()


def test_a_repeated_file_is_predicted_once_and_files_of_the_same_name_each(folder: Path) -> None:
    (folder / "link.mp4").symlink_to("a ü.mp4")
    names = ("a ü.mp4", "y/same.mp4", "x/../a ü.mp4", "x/same.mp4", "link.mp4")
    files = find_videos([Path(name) for name in names])
    assert files.paths == tuple(folder / name for name in ("a ü.mp4", *names[1::2]))
    assert len(files.warnings) == 1
    assert "a ü.mp4' is named more than once" in files.warnings[0]


def test_a_file_name_that_is_not_valid_unicode_is_a_mistake(folder: Path) -> None:
    path = Path(os.fsdecode(b"\xff.mp4"))
    path.write_bytes(b"")
    with pytest.raises(DataError, match="not valid Unicode: rename the file"):
        find_videos([path])


def test_a_video_of_an_erased_participant_is_a_mistake(folder: Path) -> None:
    mark_erased(Store("store"), "90001")
    error = fault("a ü.mp4", "90001/one.mp4", "--store", "store")
    assert "1 of 2 videos belong to participants erased from the store" in str(error)
    assert error.details == (str(folder / "90001" / "one.mp4"),)
