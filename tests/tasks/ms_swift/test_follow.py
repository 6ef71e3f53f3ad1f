import json
import sys
from pathlib import Path

import pytest

from storage.errors import StageError
from tasks.ms_swift import follow as following
from tasks.ms_swift.follow import Follower, run_program
from tasks.training.settings import TrainingSettings
from tasks.training.tracking.trackers import StepListeners

SETTINGS = TrainingSettings(trainer="ms-swift", metric="loss")


def tell(output: Path, step: int, loss: float = 1.0) -> None:
    output.mkdir(exist_ok=True)
    line = {"loss": loss, "grad_norm": 1.0, "global_step/max_steps": f"{step}/3"}
    with (output / "logging.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def save(output: Path, step: int, best: str | None = None) -> None:
    folder = output / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": best}))


def test_each_step_is_told_once_and_the_best_checkpoint_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    output = tmp_path / "output"
    follower = Follower(output, SETTINGS, 3, StepListeners(), lines.append)
    follower.look()
    tell(output, 1)
    follower.look()
    follower.look()
    tell(output, 2)
    tell(output, 3)
    save(output, 2)
    save(output, 3, best="checkpoint-2")
    assert follower.end().name == "checkpoint-2"
    assert lines == [f"step {step}/3 loss 1.0000" for step in (1, 2, 3)]
    assert (follower.progress.step, follower.progress.best_step) == (3, 2)


def test_what_ended_without_a_checkpoint_or_a_step_is_no_training(tmp_path: Path) -> None:
    output = tmp_path / "output"
    tell(output, 1)
    with pytest.raises(StageError, match="without a whole checkpoint"):
        Follower(output, SETTINGS, 3, StepListeners(), lambda _: None).end()
    tell(output, 3)
    save(output, 3)
    with pytest.raises(StageError, match=r"each of its steps \(2 of 3\)"):
        Follower(output, SETTINGS, 3, StepListeners(), lambda _: None).end()


def test_a_program_is_looked_at_while_it_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.01)
    looks: list[int] = []
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): pass"

    def look() -> None:
        looks.append(1)
        (tmp_path / "go").touch()

    run_program([sys.executable, "-c", waits], {"ONLY": "this"}, look)
    assert looks


def test_a_program_that_fails_is_told_by_its_status() -> None:
    with pytest.raises(StageError, match=r"ms-swift failed \(status 7\)"):
        run_program([sys.executable, "-c", "raise SystemExit(7)"], {}, lambda: None)


def test_a_program_ends_when_a_look_fails(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.01)

    def fail() -> None:
        raise StageError("diverged")

    with pytest.raises(StageError, match="diverged"):
        run_program([sys.executable, "-c", "import time; time.sleep(60)"], {}, fail)
