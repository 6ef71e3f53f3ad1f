"""A mistake ends in one clear sentence and exit status 2 before anything is written."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flows.commands import cli
from storage.errors import (
    ConfigError,
    DataError,
    LeakageError,
    ModelError,
    StoreError,
    ToolError,
    WaverError,
)

MODEL = Path(__file__).parents[3] / "infra" / "sandbox" / "models" / "omni-base"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a data set of one video, outside the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.mp4").write_bytes(b"")
    return tmp_path


def fault(*options: str) -> WaverError:
    """Run the command in this process and return the error it raises."""
    arguments = ["run", "--data", "data", "--profile", "sandbox", *options]
    with pytest.raises(WaverError) as caught:
        typer.main.get_command(cli.app).main(args=arguments, standalone_mode=False)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_missing_data_folder_is_named(folder: Path) -> None:
    error = fault("--data", "nowhere")
    assert isinstance(error, DataError)
    assert "'nowhere'" in str(error)
    assert "--data" in str(error)


def test_an_unknown_stage_lists_the_stages(folder: Path) -> None:
    error = fault("--only", "trancribe")
    assert isinstance(error, ConfigError)
    assert "transcribe" in str(error)


def test_an_unknown_setting_lists_the_settings(folder: Path) -> None:
    assert "max_segment_ms" in str(fault("--set", "segment.max_segment=3"))


def test_stages_that_leave_nothing_to_run_are_a_mistake(folder: Path) -> None:
    error = fault("--from", "infer", "--only", "segment")
    assert isinstance(error, ConfigError)
    assert "No stage is left to run: leave out" in str(error)
    assert "a model is named" in str(fault("--only", "finetune", "--model", str(MODEL)))


def test_forcing_a_stage_that_does_not_run_is_a_mistake(folder: Path) -> None:
    error = fault("--only", "segment", "--force", "transcribe")
    assert isinstance(error, ConfigError)
    assert "--force names transcribe, which this run leaves out: it runs" in str(error)
    trained = fault("--force", "finetune", "--model", str(MODEL))
    assert "(nothing is trained where a model is named)" in str(trained)


def test_details_of_a_mistake_are_printed_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leak(**_: object) -> None:
        raise LeakageError("A leak.", details=tuple(f"participant p{n}" for n in range(53)))

    def exit_now(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(cli, "app", leak)
    monkeypatch.setattr(os, "_exit", exit_now)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["waver: A leak.", "  participant p0"]
    assert lines[-2:] == ["  participant p49", "  and 3 more"]


def test_an_interrupted_command_ends_with_status_130_and_reports_what_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def exit_now(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr("flows.context.settings.profile_names", interrupt)
    monkeypatch.setattr(sys, "argv", ["waver", "profiles"])
    monkeypatch.setattr(os, "_exit", exit_now)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "waver: interrupted; finished results are kept."


def test_data_without_labels_and_without_a_model_names_the_option_to_use(folder: Path) -> None:
    assert "--model" in str(fault())


def test_a_folder_without_a_model_is_a_mistake(folder: Path) -> None:
    error = fault("--model", "data")
    assert isinstance(error, ModelError)
    assert "data' is not a model" in str(error)


def test_a_store_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "a file").write_text("")
    error = fault("--store", "a file/store", "--model", str(MODEL))
    assert isinstance(error, StoreError)
    assert "--store" in str(error)


def test_missing_ffmpeg_names_the_package_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    error = fault("--model", str(MODEL))
    assert isinstance(error, ToolError)
    assert "ffmpeg" in str(error)


def test_a_tracker_that_is_not_installed_is_reported_before_any_video_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "data" / "labels.csv").write_text("video,label\none.mp4,1\n")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: (name != "wandb" and find_spec(name, *more)) or None,
    )
    error = fault("--set", "resources.finetune.report_to=['wandb']")
    assert isinstance(error, ToolError)
    assert "wandb cannot track a training" in str(error)
    assert "resources.finetune.report_to" in str(error)


def test_the_command_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "flows.commands.cli", "run", "--data", "nowhere"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("waver: There is no data folder 'nowhere'")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / ".waver" / "store").exists()
