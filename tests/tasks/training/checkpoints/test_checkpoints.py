import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch

from storage.errors import StageError, StoreError
from tasks.training.checkpoints import checkpoint_format
from tasks.training.checkpoints.checkpoint_format import CheckpointFormat, trained_weights
from tasks.training.checkpoints.checkpoints import Checkpoints, Progress
from tests.builders import a_training_step

DATA_FILE = "__0_0.distcp"


class Toy:
    """A frozen and a trained layer, an optimizer, and a step on random inputs.

    The gate has no gradient in the first three steps.
    """

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
        self.model[0].requires_grad_(False)
        self.model.gate = torch.nn.Parameter(torch.ones(1))
        trained = [*self.model[1].parameters(), self.model.gate]
        self.optimizer = torch.optim.AdamW(trained, lr=0.1)
        self.format = CheckpointFormat(self.model, self.optimizer, is_sharded=False)
        self.progress = Progress()

    def step(self) -> float:
        loss = self.model(torch.randn(8, 3)).square().mean()
        if self.progress.step >= 3:
            loss = loss * self.model.gate.sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.progress.step += 1
        row = a_training_step(self.progress.step, loss=float(loss.detach()))
        self.progress.log.append(row)
        return row.loss

    def save(self, checkpoints: Checkpoints) -> None:
        checkpoints.save_last(self.progress, self.format)

    def save_best(self, checkpoints: Checkpoints) -> None:
        self.progress.best_step, self.progress.best_score = self.progress.step, (0.5, -0.1)
        checkpoints.save_best(self.progress.step, self.format)

    def load(self, checkpoints: Checkpoints) -> bool:
        torch.manual_seed(99)
        found = checkpoints.find_last(self.format)
        if found is None:
            return False
        found.restore()
        self.progress = found.progress
        return True


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_restored_training_continues_like_an_uninterrupted_one(tmp_path):
    toy = Toy()
    for _ in range(3):
        toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    expected = [toy.step() for _ in range(3)]
    restored = Toy()
    assert restored.load(Checkpoints(tmp_path, "a"))
    assert restored.progress.step == 3
    assert [restored.step() for _ in range(3)] == expected
    assert restored.progress.log == toy.progress.log


def test_only_the_last_and_the_best_are_kept(tmp_path):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    toy.step()
    toy.save_best(checkpoints)
    for _ in range(3):
        toy.step()
        toy.save(checkpoints)
    assert names(tmp_path) == ["best-000001", "step-000004"]
    toy.save_best(checkpoints)
    toy.save(checkpoints)
    assert names(tmp_path) == ["best-000004", "step-000004"]


def test_between_checkpoints_only_the_best_and_what_the_last_one_refers_to_are_kept(
    tmp_path,
):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    for step in range(1, 5):
        toy.step()
        toy.save_best(checkpoints)
        if step == 1:
            toy.save(checkpoints)
    assert names(tmp_path) == ["best-000001", "best-000004", "step-000001"]
    found = Toy()
    assert found.load(Checkpoints(tmp_path, "a"))
    assert found.progress.best_step == 1


def test_several_checkpoints_are_kept_with_their_best_and_a_damaged_last_one_is_skipped(
    tmp_path,
):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a", num_kept=2)
    for _ in range(3):
        toy.step()
        toy.save_best(checkpoints)
        toy.save(checkpoints)
    assert names(tmp_path) == ["best-000002", "best-000003", "step-000002", "step-000003"]
    (tmp_path / "step-000003" / DATA_FILE).write_bytes(b"damaged")
    found = Toy()
    assert found.load(Checkpoints(tmp_path, "a", num_kept=2))
    assert (found.progress.step, found.progress.best_step) == (2, 2)


def test_the_best_weights_are_restored(tmp_path):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    toy.step()
    toy.save_best(checkpoints)
    best = {name: weights.clone() for name, weights in trained_weights(toy.model).items()}
    toy.step()
    assert not torch.equal(best["1.weight"], toy.model[1].weight)
    checkpoints.load_best(toy.progress, toy.format)
    assert torch.equal(best["1.weight"], toy.model[1].weight)


def test_a_partially_written_checkpoint_is_ignored(tmp_path):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    shutil.copytree(tmp_path / "step-000001", tmp_path / "step-000002.tmp")
    (tmp_path / "step-000002.tmp" / DATA_FILE).write_bytes(b"half")
    assert Toy().load(Checkpoints(tmp_path, "a"))
    assert names(tmp_path) == ["step-000001"]


@pytest.mark.parametrize("file_name", [".metadata", DATA_FILE, "random.pt", "progress.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "overwritten"])
def test_a_damaged_checkpoint_is_skipped_and_changes_nothing(tmp_path, file_name, damage):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    path = tmp_path / "step-000001" / file_name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:20])
    else:
        start = len(content) // 3
        path.write_bytes(content[:start] + b"\xff" * 64 + content[start + 64 :])
    fresh = Toy()
    before = {name: weights.clone() for name, weights in trained_weights(fresh.model).items()}
    assert not fresh.load(Checkpoints(tmp_path, "a"))
    after = trained_weights(fresh.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_that_does_not_fit_into_memory_is_not_damaged(tmp_path, monkeypatch):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))

    def allocate(_path):
        torch.empty(1 << 60)

    monkeypatch.setattr(checkpoint_format, "read_pickle", allocate)
    with pytest.raises(RuntimeError, match="allocate memory"):
        Toy().load(Checkpoints(tmp_path, "a"))
    assert names(tmp_path) == ["step-000001"]


def test_a_checkpoint_without_its_best_weights_is_skipped(tmp_path):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    toy.step()
    toy.save_best(checkpoints)
    toy.step()
    toy.save(checkpoints)
    shutil.rmtree(tmp_path / "best-000001")
    assert not Toy().load(checkpoints)


_LOCK = """
import sys, time
from pathlib import Path
from tasks.training.checkpoints.checkpoints import Checkpoints
Checkpoints(Path(sys.argv[1]), "a")
print("locked", flush=True)
time.sleep(300)
"""


def test_a_folder_locked_by_another_process_is_rejected_until_that_dies(tmp_path):
    folder = tmp_path / "work"
    command = [sys.executable, "-c", _LOCK, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"locked\n"
            (folder / "step-000001.tmp").mkdir()
            with pytest.raises(StageError, match=r"Another run is training in .*run again"):
                Checkpoints(folder, "a")
            assert names(folder) == ["step-000001.tmp"]
        finally:
            other.kill()
    Checkpoints(folder, "a")
    Checkpoints(folder, "a")
    assert names(folder) == []


def test_a_checkpoint_of_another_training_is_rejected(tmp_path):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    with pytest.raises(StageError, match="other settings, data or base model"):
        toy.load(Checkpoints(tmp_path, "b"))


def test_a_full_disk_is_detected_before_anything_is_written(tmp_path, monkeypatch):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(free=10))
    with pytest.raises(StoreError, match="0 MiB are free"):
        toy.save(checkpoints)
    assert names(tmp_path) == []
