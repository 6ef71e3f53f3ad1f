import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.store import Store
from storage.variant import ItemOutput, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    number: int
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    name: str


def open_variant(store: Store, **settings: object) -> Variant:
    return store.variant("toy", version=1, settings=settings)


def output(variant: Variant, folder: Path, item: str, content: str = "") -> ItemOutput:
    """Two rows and a fact for each item, and a file that holds its name and content."""
    local = folder / f"{item}.made"
    local.write_text(f"file of {item} {content}")
    return ItemOutput(
        item_id=item,
        rows=(Fact(name=item), *(Row(name=item, number=n, note=content) for n in (1, 2))),
        files={variant.file_path(f"{item}.txt"): local},
    )


def make(variant: Variant, wanted: dict[str, str], content: str = "") -> list[str]:
    """Make what is missing, one part an item; returns what that was."""
    pending = variant.pending(wanted)
    for item in pending:
        with variant.store.staging() as folder:
            variant.commit([output(variant, folder, item, content)], wanted)
    return pending


def part_files(variant: Variant, kind: str) -> dict[str, Path]:
    """Where each item's file, table or marker lies on disk."""
    root = Path(variant.store.root)
    if kind == "file":
        return {path.stem: path for path in (root / variant.path / "files").iterdir()}
    items = {}
    for marker in (root / variant.path / "done").iterdir():
        (item,) = json.loads(marker.read_text())["part"]["items"]
        table = root / variant.path / "Row" / f"{marker.stem}.parquet"
        items[item] = marker if kind == "marker" else table
    return items


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_one_bit(path: Path) -> None:
    """Damage a file as a disk would: same size, same time of change."""
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x04
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


WANTED = {f"video {n}": f"digest {n}" for n in range(5)}


@pytest.fixture
def variant(tmp_path) -> Variant:
    return open_variant(Store(str(tmp_path)))


@pytest.fixture
def full(variant) -> Variant:
    make(variant, WANTED)
    return variant


def reopened(variant: Variant) -> Variant:
    """The same variant as another process would see it."""
    return open_variant(Store(variant.store.url))


def test_what_was_made_is_there_and_nothing_is_pending(full):
    assert full.finished(WANTED) == set(WANTED)
    assert make(reopened(full), WANTED) == []


def test_rows_come_back_in_the_order_in_which_items_are_wanted(full):
    turned = dict(reversed(WANTED.items()))
    assert [row.name for row in full.read(Fact, turned)] == list(turned)
    assert [(row.name, row.number) for row in full.read(Row, turned)] == [
        (name, number) for name in turned for number in (1, 2)
    ]


def test_only_wanted_items_are_read(full):
    some = {"video 3": WANTED["video 3"], "video 9": "never made"}
    assert [row.name for row in full.read(Fact, some)] == ["video 3"]


def test_an_added_item_costs_one(full):
    assert make(full, WANTED | {"video 5": "digest 5"}) == ["video 5"]


def test_items_of_one_part_come_back_together(variant):
    with variant.store.staging() as folder:
        outputs = [output(variant, folder, item) for item in WANTED]
        variant.commit(outputs, WANTED)
    assert variant.finished(WANTED) == set(WANTED)
    assert len(variant.store.list_files(f"{variant.path}/done")) == 1


def test_an_item_without_rows_or_files_is_finished_too(variant):
    variant.commit([ItemOutput(item_id="a", rows=())], {"a": "1"})
    assert variant.finished({"a": "1"}) == {"a"}
    assert variant.read(Row, {"a": "1"}) == []


def test_committing_nothing_writes_nothing(variant):
    variant.commit([], WANTED)
    assert variant.store.list_files(f"{variant.path}/done") == []


@pytest.mark.parametrize("damage", [delete, truncate, empty, flip_one_bit])
@pytest.mark.parametrize("kind", ["file", "table", "marker"])
def test_damage_is_noticed_and_only_that_item_is_made_again(full, kind, damage):
    damage(part_files(full, kind)["video 2"])
    seen = reopened(full)
    assert seen.pending(WANTED) == ["video 2"]
    assert [row.name for row in seen.read(Fact, WANTED)] == [n for n in WANTED if n != "video 2"]
    assert make(seen, WANTED) == ["video 2"]
    assert reopened(full).finished(WANTED) == set(WANTED)


@pytest.mark.parametrize("damage", [delete, truncate])
@pytest.mark.parametrize("kind", ["file", "table", "marker"])
def test_damage_is_noticed_by_the_process_that_wrote_it_too(full, kind, damage):
    damage(part_files(full, kind)["video 2"])
    assert full.pending(WANTED) == ["video 2"]


def test_no_flipped_bit_of_a_marker_is_believed_or_ends_a_run(variant):
    make(variant, {"a": "1"})
    (marker,) = part_files(variant, "marker").values()
    whole = marker.read_bytes()
    dice = random.Random(0)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << dice.randrange(8)
        marker.write_bytes(changed)
        rows = variant.read(Row, {"a": "1"})
        assert [row.number for row in rows] in ([], [1, 2])
        assert bool(rows) == (variant.finished({"a": "1"}) == {"a"})
        assert not rows or json.loads(changed) == json.loads(whole)


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", b'{"part": 3, "digest": ""}', b"\xff"])
def test_a_marker_that_is_none_is_passed_over(full, content):
    full.store.write_bytes(f"{full.path}/done/odd.json", content)
    assert full.finished(WANTED) == set(WANTED)


def test_changed_settings_make_a_new_variant_and_leave_the_old(full):
    other = open_variant(full.store, crf=23)
    assert make(other, WANTED) == list(WANTED)
    assert full.finished(WANTED) == set(WANTED)


def test_an_item_whose_input_changed_is_made_again_and_supersedes(full):
    today = WANTED | {"video 1": "another digest"}
    assert make(full, today, "again") == ["video 1"]
    notes = {row.name: row.note for row in reopened(full).read(Row, today)}
    assert notes == dict.fromkeys(WANTED, "") | {"video 1": "again"}
    assert len(full.read(Fact, today)) == len(WANTED)


def test_results_of_yesterdays_input_are_never_read_as_todays(full):
    make(full, WANTED | {"video 1": "another digest"}, "again")
    # its file was superseded: yesterday's rows would not fit it
    assert full.pending(WANTED) == ["video 1"]
    table = full.table(Row, WANTED)
    assert set(table["_item_id"].to_pylist()) == set(WANTED) - {"video 1"}
    assert set(table["_input_digest"].to_pylist()) == set(WANTED.values()) - {"digest 1"}


def test_a_part_made_twice_counts_once(full):
    with full.store.staging() as folder:
        full.commit([output(full, folder, "video 0")], WANTED)
    assert len(full.read(Row, WANTED)) == 2 * len(WANTED)


def test_clearing_forgets_all_results_and_keeps_the_settings(full):
    settings = full.store.open(full.identity_path).read()
    full.clear()
    assert full.pending(WANTED) == list(WANTED)
    assert full.read(Row, WANTED) == []
    assert full.store.open(full.identity_path).read() == settings
    assert make(full, WANTED) == list(WANTED)


def test_a_store_in_memory_keeps_all_the_promises(tmp_path):
    variant = open_variant(Store(f"memory://{tmp_path}"))
    assert make(variant, WANTED) == list(WANTED)
    assert make(variant, WANTED | {"b": "2"}) == ["b"]
    variant.store.remove(variant.file_path("video 3.txt"))
    variant.store.write_bytes(variant.file_path("video 4.txt"), b"file of video 5 ")
    assert make(variant, WANTED) == ["video 3", "video 4"]
    assert [row.name for row in variant.read(Fact, WANTED)] == list(WANTED)


def test_a_table_of_another_version_is_refused_even_beside_one_of_today(full):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Later:
        name: str
        number: int
        colour: str

    Later.__name__ = "Row"
    full.commit(
        [ItemOutput(item_id="new", rows=(Later(name="n", number=1, colour="red"),))], {"new": "1"}
    )
    with pytest.raises(StoreError, match="no column 'colour'"):
        full.read(Later, WANTED | {"new": "1"})


def test_threads_commit_side_by_side(variant):
    wanted = {f"v{n}": "1" for n in range(24)}

    def work(items: list[str]) -> None:
        for item in items:
            make(variant, {item: wanted[item]})

    threads = [threading.Thread(target=work, args=(list(wanted)[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reopened(variant).finished(wanted) == set(wanted)
    assert len(variant.read(Row, wanted)) == 48


_TOYS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_variant import *
"""

_COMMITS_FOR_EVER = (
    _TOYS
    + """
variant = open_variant(Store(sys.argv[1]))
wanted = json.loads(sys.argv[2])
for item in variant.pending(wanted):
    with variant.store.staging() as folder:
        variant.commit([output(variant, folder, item, "same")], wanted)
    print(item, flush=True)
"""
)


def contents(variant: Variant, wanted: dict[str, str]) -> dict[str, object]:
    """All that can be read of a variant, whatever parts it lies in."""
    files = {item: variant.file_path(f"{item}.txt") for item in variant.finished(wanted)}
    return {
        "rows": variant.table(Row, wanted).to_pylist(),
        "facts": variant.table(Fact, wanted).to_pylist(),
        "files": {item: variant.store.open(path).read() for item, path in files.items()},
    }


@pytest.mark.slow
def test_after_kills_at_random_moments_what_is_read_is_whole_and_the_rest_is_made(tmp_path):
    wanted = {f"item{n}": f"digest {n}" for n in range(50)}
    arguments = [str(tmp_path / "killed"), json.dumps(wanted)]
    dice = random.Random(7)
    announced: set[str] = set()
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", _COMMITS_FOR_EVER, *arguments], stdout=subprocess.PIPE, text=True
        )
        with child:
            for _ in range(dice.randrange(2, 7)):
                announced.add(child.stdout.readline().strip())
            time.sleep(dice.uniform(0, 0.05))
            child.kill()
            announced |= {line.strip() for line in child.stdout if line.endswith("\n")}
        assert child.returncode == -9
        variant = open_variant(Store(arguments[0]))
        there = variant.finished(wanted)
        assert announced <= there
        assert len(there) < len(wanted)
        assert len(variant.read(Row, wanted)) == 2 * len(there)
        for item in there:
            text = variant.store.open(variant.file_path(f"{item}.txt")).read().decode()
            assert text == f"file of {item} same"
    missing = set(wanted) - there
    assert set(make(variant, wanted, "same")) == missing
    undisturbed = open_variant(Store(str(tmp_path / "undisturbed")))
    make(undisturbed, wanted, "same")
    assert contents(variant, wanted) == contents(undisturbed, wanted)


_DIES_AT_EVERY_STEP = (
    _TOYS
    + """
import signal
for step in range(1_000):
    root = f"{sys.argv[1]}/{step}"
    variant = open_variant(Store(root))
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
        make(variant, {"before": "1", "after": "2"})
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(step)
        break
"""
)


@pytest.mark.slow
def test_a_kill_before_any_step_of_a_commit_leaves_all_of_it_or_nothing(tmp_path):
    command = [sys.executable, "-c", _DIES_AT_EVERY_STEP, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    num_steps = int(done.stdout)
    assert num_steps > 10
    wanted = {"before": "1", "after": "2"}
    outcomes = []
    for step in range(num_steps + 1):
        variant = open_variant(Store(f"{tmp_path}/{step}"))
        there = variant.finished(wanted)
        assert "before" in there
        assert [row.name for row in variant.read(Fact, wanted)] == sorted(there, reverse=True)
        make(variant, wanted)
        assert [row.name for row in variant.read(Row, wanted)] == ["before"] * 2 + ["after"] * 2
        outcomes.append("after" in there)
    assert outcomes == sorted(outcomes)
    assert True in outcomes
    assert False in outcomes


_FILLS_THE_DISK = (
    _TOYS
    + """
import resource, signal
from storage.errors import StoreError
root, how = sys.argv[1:]
if how == "small disk":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", root], check=True)
variant = open_variant(Store(root + "/store"))
wanted = {f"item{n}": "1" for n in range(12)}
if how == "limit on a file's size":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, resource.RLIM_INFINITY))
result = {"said": []}
for n, item in enumerate(wanted):
    try:
        with variant.store.staging() as folder:
            made = output(variant, folder, item)
            (folder / f"{item}.made").write_bytes(os.urandom(20_000 + 45_000 * n))
            variant.commit([made], wanted)
    except StoreError as error:
        result["said"].append(str(error))
result["finished"] = sorted(variant.finished(wanted))
result["left"] = [path.name for path in Path(root, "store", ".tmp").iterdir()]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if how == "small disk":
    subprocess.run(["mount", "-o", "remount,size=20m", root], check=True)
result["made after"] = sorted(make(open_variant(Store(root + "/store")), wanted))
print(json.dumps(result))
"""
)


@pytest.mark.parametrize("how", ["small disk", "limit on a file's size"])
def test_a_full_disk_is_told_in_one_sentence_and_leaves_nothing_half_written(
    tmp_path, how, request
):
    command = [sys.executable, "-c", _FILLS_THE_DISK, str(tmp_path), how]
    if how == "small disk":
        command = [*request.getfixturevalue("with_own_mounts"), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    everything = {f"item{n}" for n in range(12)}
    assert 1 < len(result["said"]) < 12
    assert all(said.startswith("No space left while writing to ") for said in result["said"])
    assert len(result["finished"]) == 12 - len(result["said"])
    assert result["left"] == []
    assert set(result["made after"]) == everything - set(result["finished"])
