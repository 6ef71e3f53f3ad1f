"""Checkpoints as ms-swift 4.6 writes them; test_run opens one."""

import json
from pathlib import Path

from tasks.ms_swift.checkpoints import best_checkpoint, last_checkpoint, step_of, version_of


def checkpoint(output: Path, step: int, best: str | None = None) -> Path:
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": best}))
    return folder


def test_the_last_complete_checkpoint_is_found_by_its_number(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "nowhere") is None
    for step in (9, 100, 20):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-300").mkdir()  # of a killed run
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert step_of(found) == 100


def test_the_best_checkpoint_is_found_in_a_moved_folder(tmp_path: Path) -> None:
    best = checkpoint(tmp_path, 4)
    last = checkpoint(tmp_path, 8, best="/original/checkpoint-4")
    assert best_checkpoint(last) == best


def test_without_evaluation_the_last_checkpoint_is_the_best(tmp_path: Path) -> None:
    last = checkpoint(tmp_path, 8)
    assert best_checkpoint(last) == last


def test_a_checkpoint_has_its_version_or_none(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1)
    assert version_of(path) is None
    (path / "args.json").write_text('{"swift_version": "4.6.0"}')
    assert version_of(path) == "4.6.0"
