"""The training's child process; test_finetune tests whole trainings."""

import sys
from pathlib import Path

import pytest

from storage.errors import StageError
from storage.store.store import Store
from storage.store.variant import open_variant
from tasks.processes.error_file import log_path_of
from tasks.prompting.model_input import InputConfig
from tasks.training import process
from tasks.training.job import TrainingJob
from tasks.training.settings import FinetuneResources, TrainingSettings
from tasks.training.tracking.curve_artifact import CurveArtifact


def job_of(folder: Path, **settings: object) -> TrainingJob:
    return TrainingJob(
        identity="toy",
        store_url=str(folder),
        model_path=folder,
        input=InputConfig(),
        training=TrainingSettings.model_validate({"metric": "loss", **settings}),
        plan=(),
        resources=FinetuneResources(device="cpu"),
        work_path=folder,
    )


@pytest.mark.parametrize(
    ("trainer", "module"),
    [("waver", "tasks.training.child"), ("ms-swift", "tasks.ms_swift.child")],
)
def test_each_trainer_has_its_own_child_process(tmp_path, monkeypatch, trainer, module) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(process, "run_child", lambda command, **_: started.append(command))
    variant = open_variant(Store(str(tmp_path / "store")), "finetune", version=1, settings={})
    job = job_of(tmp_path, trainer=trainer)
    process.run_training(tmp_path / "job.json", job, variant, CurveArtifact("toy"))
    assert started[0][-2:] == [module, str(tmp_path / "job.json")]


def test_the_log_of_a_failed_training_is_kept_and_named(tmp_path) -> None:
    """The real child, with an unreadable job."""
    variant = open_variant(Store(str(tmp_path / "store")), "finetune", version=1, settings={})
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "job.json").write_text("no job")
    log_path_of(folder / "job.json").write_text("what libraries print\n")
    with pytest.raises(StageError, match=r"Training failed .*The libraries' log: ") as error:
        process.run_training(
            folder / "job.json", job_of(tmp_path, trainer="ms-swift"), variant, CurveArtifact("toy")
        )
    kept = Path(str(error.value).rpartition("log: ")[2])
    assert kept.read_text().startswith("what libraries print\n")
    assert "Traceback" in kept.read_text()


_FAILS = """
import os, sys
from pathlib import Path
from storage.errors import StageError
from tasks.processes.child_frame import run_as_child

def work(out):
    print("going", file=out)
    raise StageError("too little")

stdout = os.dup(1)
status = run_as_child("Training", Path(sys.argv[1]), work)
os.write(stdout, b"=====\\n")
sys.exit(status)
"""


def test_lines_that_a_launcher_adds_to_an_error_are_not_logged(
    tmp_path, monkeypatch, caplog
) -> None:
    command = [sys.executable, "-c", _FAILS, str(tmp_path / "job.json")]
    monkeypatch.setattr(process, "_command", lambda *_: command)
    variant = open_variant(Store(str(tmp_path / "store")), "finetune", version=1, settings={})
    with (
        caplog.at_level("INFO"),
        pytest.raises(StageError, match=r"^too little The libraries' log: "),
    ):
        process.run_training(tmp_path / "job.json", job_of(tmp_path), variant, CurveArtifact("toy"))
    assert [record.getMessage() for record in caplog.records] == ["finetune: going"]
