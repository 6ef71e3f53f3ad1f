import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch

from storage.errors import StageError, StoreError
from tasks.training.checkpoints import formats as contents
from tasks.training.checkpoints.checkpoints import Checkpoints, Progress
from tasks.training.checkpoints.formats import FullCheckpointFormat, trained_weights
from tests.builders import a_training_step


class Toy:
    """A linear layer half of which is frozen, its optimizer, and a step that draws at random."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
        self.model[0].requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.model[1].parameters(), lr=0.1)
        self.contents = FullCheckpointFormat(self.model, self.optimizer)
        self.progress = Progress()

    def step(self) -> float:
        loss = self.model(torch.randn(8, 3)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.progress.step += 1
        row = a_training_step(self.progress.step, loss=float(loss.detach()))
        self.progress.log.append(row)
        return row.loss

    def save(self, checkpoints: Checkpoints) -> None:
        checkpoints.save_last(self.progress, self.contents)

    def save_best(self, checkpoints: Checkpoints) -> None:
        self.progress.best_step, self.progress.best_score = self.progress.step, (0.5, -0.1)
        checkpoints.save_best(self.progress.step, self.contents)

    def load(self, checkpoints: Checkpoints) -> bool:
        torch.manual_seed(99)
        found = checkpoints.find_last(self.contents)
        if found is None:
            return False
        found.restore()
        self.progress = found.progress
        return True


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_restored_training_goes_on_as_the_one_that_was_not_stopped(tmp_path):
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


def test_between_checkpoints_no_more_than_the_best_and_what_the_last_one_goes_on_with_lie_there(
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


def test_as_many_are_kept_as_asked_for_each_with_its_best_and_a_damaged_last_is_passed_over(
    tmp_path,
):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a", num_kept=2)
    for _ in range(3):
        toy.step()
        toy.save_best(checkpoints)
        toy.save(checkpoints)
    assert names(tmp_path) == ["best-000002", "best-000003", "step-000002", "step-000003"]
    (tmp_path / "step-000003" / "optimizer.pt").write_bytes(b"damaged")
    found = Toy()
    assert found.load(Checkpoints(tmp_path, "a", num_kept=2))
    assert (found.progress.step, found.progress.best_step) == (2, 2)


def test_the_best_weights_come_back(tmp_path):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    toy.step()
    toy.save_best(checkpoints)
    best = {name: weights.clone() for name, weights in trained_weights(toy.model).items()}
    toy.step()
    assert not torch.equal(best["1.weight"], toy.model[1].weight)
    checkpoints.load_best(toy.progress, toy.contents)
    assert torch.equal(best["1.weight"], toy.model[1].weight)


def test_a_checkpoint_cut_off_while_it_was_written_is_none(tmp_path):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    shutil.copytree(tmp_path / "step-000001", tmp_path / "step-000002.tmp")
    (tmp_path / "step-000002.tmp" / "optimizer.pt").write_bytes(b"half")
    assert Toy().load(Checkpoints(tmp_path, "a"))
    assert names(tmp_path) == ["step-000001"]


@pytest.mark.parametrize(
    "file_name", ["weights.safetensors", "optimizer.pt", "random.pt", "progress.json"]
)
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_checkpoint_counts_as_absent_and_changes_nothing(tmp_path, file_name, damage):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    path = tmp_path / "step-000001" / file_name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20])
    fresh = Toy()
    before = {name: weights.clone() for name, weights in trained_weights(fresh.model).items()}
    assert not fresh.load(Checkpoints(tmp_path, "a"))
    after = trained_weights(fresh.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_that_memory_does_not_hold_is_not_damaged(tmp_path, monkeypatch):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))

    def allocate(_path):
        torch.empty(1 << 60)

    monkeypatch.setattr(contents, "load_file", allocate)
    with pytest.raises(RuntimeError, match="allocate memory"):
        Toy().load(Checkpoints(tmp_path, "a"))
    assert names(tmp_path) == ["step-000001"]


def test_a_checkpoint_whose_best_weights_are_gone_counts_as_absent(tmp_path):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    toy.step()
    toy.save_best(checkpoints)
    toy.step()
    toy.save(checkpoints)
    shutil.rmtree(tmp_path / "best-000001")
    assert not Toy().load(checkpoints)


_HOLD = """
import sys, time
from pathlib import Path
from tasks.training.checkpoints.checkpoints import Checkpoints
Checkpoints(Path(sys.argv[1]), "a")
print("held", flush=True)
time.sleep(300)
"""


def test_a_folder_in_which_another_process_trains_is_refused_until_that_dies(tmp_path):
    folder = tmp_path / "work"
    command = [sys.executable, "-c", _HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            (folder / "step-000001.tmp").mkdir()
            with pytest.raises(StageError, match=r"Another run is training in .*run again"):
                Checkpoints(folder, "a")
            assert names(folder) == ["step-000001.tmp"]
        finally:
            other.kill()
    Checkpoints(folder, "a")
    Checkpoints(folder, "a")
    assert names(folder) == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    toy = Toy()
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    with pytest.raises(StageError, match="other settings, data or base model"):
        toy.load(Checkpoints(tmp_path, "b"))


def test_a_checkpoint_in_parts_is_refused_by_a_training_of_the_whole_and_stays(tmp_path):
    toy = Toy()
    toy.contents.kind = "shards"
    toy.step()
    toy.save(Checkpoints(tmp_path, "a"))
    with pytest.raises(StageError, match=r"holds 'shards', .* from 'whole': set .*sharding"):
        Toy().load(Checkpoints(tmp_path, "a"))
    assert names(tmp_path) == ["step-000001"]


def test_too_small_a_disk_is_found_before_anything_is_written(tmp_path, monkeypatch):
    toy, checkpoints = Toy(), Checkpoints(tmp_path, "a")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(free=10))
    with pytest.raises(StoreError, match="0 MiB are free"):
        toy.save(checkpoints)
    assert names(tmp_path) == []
