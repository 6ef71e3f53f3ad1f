import json
import sys
from pathlib import Path

import pytest

from storage.errors import StageError
from tasks.ms_swift import monitor as swift_monitor
from tasks.ms_swift.monitor import SwiftMonitor, run_program
from tasks.training.settings import TrainingSettings
from tasks.training.tracking.callbacks import CallbackList

SETTINGS = TrainingSettings(trainer="ms-swift", metric="loss")


def log_step(output: Path, step: int, loss: float = 1.0) -> None:
    output.mkdir(exist_ok=True)
    line = {"loss": loss, "grad_norm": 1.0, "global_step/max_steps": f"{step}/3"}
    with (output / "logging.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def save(output: Path, step: int, best: str | None = None) -> None:
    folder = output / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": best}))


def test_each_step_is_reported_once_and_the_best_checkpoint_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    output = tmp_path / "output"
    monitor = SwiftMonitor(output, SETTINGS, 3, CallbackList(), lines.append)
    monitor.poll()
    log_step(output, 1)
    monitor.poll()
    monitor.poll()
    log_step(output, 2)
    log_step(output, 3)
    save(output, 2)
    save(output, 3, best="checkpoint-2")
    assert monitor.finish().name == "checkpoint-2"
    assert lines == [f"step {step}/3 loss 1.0000" for step in (1, 2, 3)]
    assert (monitor.progress.step, monitor.progress.best_step) == (3, 2)


def test_a_missing_checkpoint_or_step_is_an_error(tmp_path: Path) -> None:
    output = tmp_path / "output"
    log_step(output, 1)
    with pytest.raises(StageError, match="without a complete checkpoint"):
        SwiftMonitor(output, SETTINGS, 3, CallbackList(), lambda _: None).finish()
    log_step(output, 3)
    save(output, 3)
    with pytest.raises(StageError, match=r"steps missing from its log \(2 of 3 found\)"):
        SwiftMonitor(output, SETTINGS, 3, CallbackList(), lambda _: None).finish()


def test_a_program_is_polled_while_it_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(swift_monitor, "_POLL_SECONDS", 0.01)
    polls: list[int] = []
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): pass"

    def poll() -> None:
        polls.append(1)
        (tmp_path / "go").touch()

    run_program([sys.executable, "-c", waits], {"ONLY": "this"}, poll)
    assert polls


def test_a_failed_program_is_an_error_with_its_exit_status() -> None:
    with pytest.raises(StageError, match=r"ms-swift failed with exit status 7"):
        run_program([sys.executable, "-c", "raise SystemExit(7)"], {}, lambda: None)


def test_a_program_is_killed_when_a_poll_fails(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(swift_monitor, "_POLL_SECONDS", 0.01)

    def fail() -> None:
        raise StageError("diverged")

    with pytest.raises(StageError, match="diverged"):
        run_program([sys.executable, "-c", "import time; time.sleep(60)"], {}, fail)
