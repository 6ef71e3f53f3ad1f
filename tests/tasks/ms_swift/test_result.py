"""Checkpoints as ms-swift 4.6 leaves them; opening one is held in test_run."""

import json
from pathlib import Path

from tasks.ms_swift.result import best_checkpoint, last_checkpoint, step_of, version_of


def checkpoint(output: Path, step: int, best: str | None = None) -> Path:
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": best}))
    return folder


def test_the_last_whole_checkpoint_is_found_by_its_number(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "nowhere") is None
    for step in (9, 100, 20):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-300").mkdir()  # killed while it was written
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert step_of(found) == 100


def test_the_best_checkpoint_is_found_wherever_the_folder_lies_now(tmp_path: Path) -> None:
    best = checkpoint(tmp_path, 4)
    last = checkpoint(tmp_path, 8, best="/where/it/was/checkpoint-4")
    assert best_checkpoint(last) == best


def test_without_measurements_the_last_one_is_the_best(tmp_path: Path) -> None:
    last = checkpoint(tmp_path, 8)
    assert best_checkpoint(last) == last


def test_a_checkpoint_tells_its_version_or_nothing(tmp_path: Path) -> None:
    made = checkpoint(tmp_path, 1)
    assert version_of(made) is None
    (made / "args.json").write_text('{"swift_version": "4.6.0"}')
    assert version_of(made) == "4.6.0"
