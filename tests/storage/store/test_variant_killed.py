import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.store.store import Store
from storage.store.variant import Variant
from tests.storage.toys import Fact, Row, make, open_toy_variant

REPOSITORY = Path(__file__).parents[3]


_COMMITS_FOR_EVER = """
import json, sys
from tests.storage.toys import *
variant = open_toy_variant(Store(sys.argv[1]))
expected = json.loads(sys.argv[2])
for item in variant.pending(expected):
    with variant.store.staging() as folder:
        variant.commit([output(variant, folder, item, "same")], expected)
    print(item, flush=True)
"""


def contents(variant: Variant, expected: dict[str, str]) -> dict[str, object]:
    """All that can be read of a variant, whatever parts it lies in."""
    files = {item: variant.file_path(f"{item}.txt") for item in variant.finished(expected)}
    return {
        "rows": variant.table(Row, expected).to_pylist(),
        "facts": variant.table(Fact, expected).to_pylist(),
        "files": {item: variant.store.open(path).read() for item, path in files.items()},
    }


@pytest.mark.slow
def test_after_kills_at_random_moments_results_are_whole_and_the_rest_is_computed(tmp_path):
    expected = {f"item{n}": f"digest {n}" for n in range(150)}
    arguments = [str(tmp_path / "killed"), json.dumps(expected)]
    dice = random.Random(7)
    announced: set[str] = set()
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", _COMMITS_FOR_EVER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        with child:
            for _ in range(dice.randrange(2, 7)):
                announced.add(child.stdout.readline().strip())
            time.sleep(dice.uniform(0, 0.05))
            child.kill()
            announced |= {line.strip() for line in child.stdout if line.endswith("\n")}
        assert child.returncode == -9
        variant = open_toy_variant(Store(arguments[0]))
        finished = variant.finished(expected)
        assert announced <= finished
        assert len(finished) < len(expected)
        assert len(variant.read(Row, expected)) == 2 * len(finished)
        for item in finished:
            text = variant.store.open(variant.file_path(f"{item}.txt")).read().decode()
            assert text == f"file of {item} same"
    missing = set(expected) - finished
    assert set(make(variant, expected, "same")) == missing
    undisturbed = open_toy_variant(Store(str(tmp_path / "undisturbed")))
    make(undisturbed, expected, "same")
    assert contents(variant, expected) == contents(undisturbed, expected)


_DIES_AT_EVERY_STEP = """
import os, signal, sys
from tests.storage.toys import *
for step in range(1_000):
    root = f"{sys.argv[1]}/{step}"
    variant = open_toy_variant(Store(root))
    make(variant, {"before": "1"})
    child = os.fork()
    if child == 0:
        left = [step]
        def watch(event, arguments):
            if event.split(".")[0] in ("open", "os", "shutil") and root in str(arguments):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
        if sys.argv[2] == "invalidate":
            variant.invalidate({"before": "1"})
        else:
            make(variant, {"before": "1", "after": "2"})
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(step)
        break
"""


def kill_at_every_step(folder: Path, action: str) -> list[Variant]:
    """Kill a process at each step of an action, one store a step; the last is not killed."""
    command = [sys.executable, "-c", _DIES_AT_EVERY_STEP, str(folder), action]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    return [open_toy_variant(Store(f"{folder}/{step}")) for step in range(int(done.stdout) + 1)]


@pytest.mark.slow
def test_a_kill_at_any_step_of_an_invalidation_leaves_all_of_it_or_nothing(tmp_path):
    variants = kill_at_every_step(tmp_path, "invalidate")
    assert len(variants) > 3
    expected = {"before": "1"}
    num_pending = [len(variant.pending(expected)) for variant in variants]
    assert num_pending == sorted(num_pending)
    assert set(num_pending) == {0, 1}
    for variant in variants:
        make(variant, expected)
        assert [row.name for row in variant.read(Row, expected)] == ["before"] * 2


@pytest.mark.slow
def test_a_kill_at_any_step_of_a_commit_leaves_all_of_it_or_nothing(tmp_path):
    variants = kill_at_every_step(tmp_path, "commit")
    assert len(variants) > 10
    expected = {"before": "1", "after": "2"}
    outcomes = []
    for variant in variants:
        finished = variant.finished(expected)
        assert "before" in finished
        assert [row.name for row in variant.read(Fact, expected)] == sorted(finished, reverse=True)
        make(variant, expected)
        assert [row.name for row in variant.read(Row, expected)] == ["before"] * 2 + ["after"] * 2
        outcomes.append("after" in finished)
    assert outcomes == sorted(outcomes)
    assert True in outcomes
    assert False in outcomes


_FILLS_THE_DISK = """
import json, os, resource, signal, subprocess, sys
from tests.storage.toys import *
from storage.errors import StoreError
root, how = sys.argv[1:]
if how == "small disk":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", root], check=True)
variant = open_toy_variant(Store(root + "/store"))
expected = {f"item{n}": "1" for n in range(12)}
if how == "limit on a file's size":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, resource.RLIM_INFINITY))
result = {"errors": []}
for n, item in enumerate(expected):
    try:
        with variant.store.staging() as folder:
            made = output(variant, folder, item)
            (folder / f"{item}.made").write_bytes(os.urandom(20_000 + 45_000 * n))
            variant.commit([made], expected)
    except StoreError as error:
        result["errors"].append(str(error))
result["finished"] = sorted(variant.finished(expected))
result["left"] = [path.name for path in Path(root, "store", ".tmp").iterdir()]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if how == "small disk":
    subprocess.run(["mount", "-o", "remount,size=20m", root], check=True)
result["computed after"] = sorted(make(open_toy_variant(Store(root + "/store")), expected))
print(json.dumps(result))
"""


@pytest.mark.parametrize("how", ["small disk", "limit on a file's size"])
def test_a_full_disk_is_reported_in_one_sentence_and_leaves_nothing_half_written(
    tmp_path, how, request
):
    command = [sys.executable, "-c", _FILLS_THE_DISK, str(tmp_path), how]
    if how == "small disk":
        command = [*request.getfixturevalue("with_own_mounts"), *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    everything = {f"item{n}" for n in range(12)}
    assert 1 < len(result["errors"]) < 12
    assert all(
        message.startswith("No space left while writing to ") for message in result["errors"]
    )
    assert len(result["finished"]) == 12 - len(result["errors"])
    assert result["left"] == []
    assert set(result["computed after"]) == everything - set(result["finished"])
