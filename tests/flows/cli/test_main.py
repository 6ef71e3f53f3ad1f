"""A mistake ends in one clear sentence and exit status 2 before anything is written."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flows.cli import main as cli
from flows.commands.exit_status import MEANINGS, ExitStatus
from flows.commands.options import INFERENCE_STAGES
from flows.commands.version import waver_version
from flows.context.stage_names import STAGES
from storage.errors import (
    ConfigError,
    DataError,
    LeakageError,
    ModelError,
    StageError,
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


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"prefect"}


@pytest.mark.parametrize("option", ["--data", "--store"])
@pytest.mark.parametrize("path", ["", "  ", "a\0b"])
def test_an_empty_path_or_one_with_a_nul_byte_is_a_mistake(
    folder: Path, option: str, path: str
) -> None:
    error = fault(option, path)
    assert isinstance(error, ConfigError)
    assert option in str(error)
    assert names_in(folder) == {"data"}


@pytest.mark.parametrize("option", ["--data", "--store"])
@pytest.mark.parametrize(
    "path",
    [
        "/proc/x",
        "/proc/1/fdinfo/x/y",
        "/sys/kernel/x",
        "/dev/null",
        "file",
        "file/below",
        "x" * 300,
    ],
)
def test_a_path_that_cannot_be_used_is_named_in_one_sentence(
    folder: Path, option: str, path: str
) -> None:
    (folder / "file").write_text("in the way")
    error = fault(option, path)
    assert isinstance(error, StoreError if option == "--store" else DataError)
    assert path in str(error)
    assert option in str(error)
    assert names_in(folder) == {"data", "file"}
    assert (folder / "file").read_text() == "in the way"


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
    assert "--force names transcribe, which this run skips: it runs" in str(error)
    trained = fault("--force", "finetune", "--model", str(MODEL))
    assert "(nothing is trained if a model is named)" in str(trained)


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `waver` in this process and return its exit status."""

    def exit_now(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(sys, "argv", ["waver", *arguments])
    monkeypatch.setattr(os, "_exit", exit_now)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (typer.Exit(), 0),
        (StageError("A stage failed."), 1),
        (typer.Exit(ExitStatus.FAILED), 1),
        (ConfigError("A setting is wrong."), 2),
        (DataError("The data folder is missing."), 2),
        (LeakageError("A leak."), 2),
        (ModelError("A folder without a model."), 2),
        (StoreError("The store is full."), 2),
        (ToolError("ffmpeg is missing."), 2),
        (typer.Exit(ExitStatus.SOME_REJECTED), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_end_of_a_command_has_its_exit_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("flows.context.settings.profile_names", fail)
    assert run_main(monkeypatch, "profiles") == status
    message = capsys.readouterr().err
    if isinstance(error, WaverError):
        assert message == f"waver: {error}\n"
    assert ("finished results are kept" in message) == (status == 130)


@pytest.mark.parametrize(
    "arguments", [("run",), ("profile",), ("run", "--data"), ("ui", "--port", "x")]
)
def test_a_wrong_command_line_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    assert run_main(monkeypatch, *arguments) == 2


def test_details_of_a_mistake_are_printed_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leak() -> None:
        raise LeakageError("A leak.", details=tuple(f"participant p{n}" for n in range(53)))

    monkeypatch.setattr("flows.context.settings.profile_names", leak)
    assert run_main(monkeypatch, "profiles") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["waver: A leak.", "  participant p0"]
    assert lines[-2:] == ["  participant p49", "  and 3 more"]


def help_of(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *command: str,
    columns: int = 100,
) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run_main(monkeypatch, *command, "--help") == 0
    return capsys.readouterr().out


def test_the_help_explains_every_exit_status_and_how_to_install_completion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(monkeypatch, capsys)
    for status in ExitStatus:
        assert f" {status:>3}  {MEANINGS[status]}" in text
    assert "waver --install-completion" in text


def test_the_help_of_a_run_names_the_stages_at_each_option_that_takes_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, num_options, stages in (("run", 3, STAGES), ("ablate", 1, INFERENCE_STAGES)):
        text = help_of(monkeypatch, capsys, command, columns=80)
        unwrapped = " ".join(text.replace("│", " ").split())
        assert unwrapped.count(", ".join(stages)) == num_options


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"waver {waver_version()}\n"


def test_completion_offers_stages_without_loading_prefect_or_a_model_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import os, sys\n"
        "os._exit = lambda status: print(sorted(sys.modules))\n"
        "from flows.cli.main import main\n"
        "main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path),
             "_WAVER_COMPLETE": "complete_bash", "COMP_WORDS": "waver run --only f",
             "COMP_CWORD": "3"},
    )  # fmt: skip
    offered, modules = ended.stdout.splitlines()
    assert offered == "finetune"
    for heavy in ("prefect", "torch", "transformers", "vllm", "duckdb", "pyarrow", "httpx"):
        assert f"'{heavy}'" not in modules


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
    assert "The trackers wandb are not installed" in str(error)
    assert "resources.finetune.report_to" in str(error)


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "data/one.mp4", "--model", str(MODEL)),
        ("parity", "--model", str(MODEL)),
        ("ablate", "--data", "data", "--model", str(MODEL)),
        ("check", "--data", "data"),
        ("export", "verdicts", "--purpose", "internal", "--data", "data"),
        ("export", "training", "--purpose", "internal", "--data", "data", "--format", "hf"),
    ],
)
def test_every_command_rejects_an_output_in_a_missing_folder_before_any_work(
    folder: Path, command: tuple[str, ...]
) -> None:
    arguments = [*command, "--out", "missing/out.parquet"]
    with pytest.raises(ConfigError, match="The folder 'missing' of --out does not exist"):
        typer.main.get_command(cli.app).main(args=arguments, standalone_mode=False)
    assert {path.name for path in folder.iterdir()} <= {"data", "prefect"}


def test_the_command_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "run", "--data", "nowhere"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("waver: There is no data folder 'nowhere'")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / ".waver" / "store").exists()
