"""What is found of a run that did not keep its promises, on stores that are made wrong."""

import shutil
from pathlib import Path

import pytest

from flows.context.request import RunRequest
from infra.benchmarks.chaos.sandbox import Sandbox, count_items, left_behind
from infra.benchmarks.chaos.trial import Trial, check_results
from tests.flows.toys import finish, request_of, write_release


class ToySandbox(Sandbox):
    def request(self, store: Path, only: object = None) -> RunRequest:
        return request_of(self.data, store)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    folder = tmp_path_factory.mktemp("toys")
    for name in ("data", "files"):
        (folder / name).mkdir()
    write_release(folder / "data")
    finish(request_of(folder / "data", folder / "store"), folder / "files")
    return ToySandbox(data=folder / "data", finished=folder / "store", settings=(), environment={})


@pytest.fixture
def store(sandbox: Sandbox, tmp_path: Path) -> Path:
    shutil.copytree(sandbox.finished, tmp_path / "store")
    return tmp_path / "store"


def problems(sandbox: Sandbox, store: Path) -> list[str]:
    trial = Trial(victim="flow", signal="SIGKILL", stage="segment")
    check_results(sandbox, sandbox.outcome(sandbox.finished), store, trial)
    return trial.problems


def test_an_equal_store_has_no_problems(sandbox, store):
    assert problems(sandbox, store) == []


def test_an_item_in_two_parts_was_computed_twice(sandbox, store):
    context_store = sandbox.finished
    (marker,) = list((store / "aggregate").glob("*/done/*.json"))[:1]
    shutil.copy(marker, marker.with_name("0123456789abcdef.json"))
    counts = count_items(store)
    assert sum(counts.values()) == sum(count_items(context_store).values()) + 1
    assert problems(sandbox, store)[0] == "1 items of ['aggregate'] were computed twice"


@pytest.mark.parametrize(
    "name", [".tmp/0000abcd-1-0123456789ab", ".leases/x.y.z.json", "finetune/abc/work/checkpoint"]
)
def test_what_a_killed_run_left_in_the_store_is_found(sandbox, store, name):
    (store / name).parent.mkdir(parents=True, exist_ok=True)
    (store / name).write_bytes(b"")
    assert left_behind(store) == [name]
    assert problems(sandbox, store) == [f"left in the store: {[name]}"]


def test_other_verdicts_and_missing_ones_are_found(sandbox, store):
    trial = Trial(victim="flow", signal="SIGKILL", stage="segment")
    verdicts, metrics = sandbox.outcome(store)
    check_results(sandbox, (frozenset([*verdicts][1:]), metrics), store, trial)
    assert trial.problems == ["verdicts or metrics differ from those of an undisturbed run"]
    shutil.rmtree(store / "aggregate")
    (problem,) = problems(sandbox, store)
    assert problem.startswith("no verdicts: ")


def test_a_copy_lacks_one_stage_or_also_the_later_ones(sandbox, tmp_path):
    sandbox.copy_without("manifest", tmp_path / "one")
    sandbox.copy_without("manifest", tmp_path / "later", later=True)
    assert not (tmp_path / "one" / "manifest").exists()
    assert (tmp_path / "one" / "aggregate").exists()
    assert not (tmp_path / "later" / "aggregate").exists()
    assert (tmp_path / "later" / "transcribe").exists()
