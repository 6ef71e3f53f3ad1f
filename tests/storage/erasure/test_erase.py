import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.datasets.erased import read_erased
from storage.erasure.erase import erase_participant, find_traces, variant_paths
from storage.erasure.scan import scan_store
from storage.errors import StoreError
from storage.store.store import Store
from storage.store.variant import Variant
from tests.spellings import participants, spellings_of
from tests.storage.erasure.erase_toys import (
    Sample,
    Summary,
    Talk,
    commit_cuts,
    commit_summary,
    cut_variant,
    name_of,
    sum_variant,
)

REPOSITORY = Path(__file__).parents[3]
OWNERS = {name_of(who, n): who for who in ("12", "120", "7") for n in (1, 4, 12)}
EXPECTED = dict.fromkeys(OWNERS, "1")


def filled(store: Store) -> Store:
    """Two variants of one stage, parts of mixed people, and two summaries; one without `12`."""
    videos = list(OWNERS)
    for crf in (23, 30):
        commit_cuts(cut_variant(store, crf), OWNERS, [videos[:2], videos[2:7], videos[7:]])
    commit_summary(sum_variant(store), "all", videos)
    commit_summary(sum_variant(store), "others", [v for v in videos if OWNERS[v] != "12"])
    return store


def erase(store: Store, participant: str):
    """Erase like the command; returns what was removed and the scan after it."""
    traces = find_traces(store, participant)
    return erase_participant(store, traces), scan_store(store, traces)


def readable(variant: Variant, expected: dict[str, str]) -> dict[str, object]:
    """All that can be read of a variant, whatever parts it lies in."""
    files = {
        path.removeprefix(variant.store.root): variant.store.open(path).read()
        for item in variant.finished(expected)
        for path in [
            variant.file_path(f"{item.rpartition('/')[2].replace(' ', '_')}-0123/0001.bin")
        ]
        if variant.store.exists(path)
    }
    rows = [variant.table(kind, expected).to_pylist() for kind in (Sample, Talk, Summary)]
    return {"rows": rows, "files": files}


def everything(store: Store) -> dict[str, bytes]:
    root = Path(store.root)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("location", ["folder", "memory"])
def test_erasing_removes_one_participant_from_all_variants_and_keeps_the_others(tmp_path, location):
    store = filled(Store(str(tmp_path) if location == "folder" else f"memory://{tmp_path}"))
    variants = [cut_variant(store), cut_variant(store, 30), sum_variant(store)]
    others = {video: "1" for video, owner in OWNERS.items() if owner != "12"}
    before = [readable(variant, others | {"others": "1"}) for variant in variants]
    removed, scan = erase(store, "12")
    assert removed == {"cut": 6, "sum": 1}
    assert scan.is_clean
    assert scan.num_tables > 3
    again = Store(store.url)
    for variant, rows in zip(variants, before, strict=True):
        seen = Variant(store=again, stage=variant.stage, variant_id=variant.variant_id)
        assert readable(seen, EXPECTED | {"all": "1", "others": "1"}) == rows
    assert not [path for path in again.fs.find(again.root) if "12_Question" in path]
    assert "12" in read_erased(again)
    assert "120" not in read_erased(again)


@settings(max_examples=12, deadline=None)
@given(data=st.data(), who=participants)
def test_erasing_one_spelling_erases_all_and_nobody_else(tmp_path_factory, data, who):
    folder = tmp_path_factory.mktemp("spellings")
    spelled = [data.draw(spellings_of(who), label="spelling") for _ in range(3)]
    owners = {f"v{number}.mp4": name for number, name in enumerate([*spelled, "nobody", None])}
    store = Store(f"memory://{folder}")
    commit_cuts(cut_variant(store), owners, [list(owners)])
    removed, scan = erase(store, data.draw(spellings_of(who), label="erased as"))
    assert removed == {"cut": 3}
    assert scan.is_clean
    assert cut_variant(store).finished(dict.fromkeys(owners, "1")) == {"v3.mp4", "v4.mp4"}
    assert all(name in read_erased(store) for name in spelled)


def test_erasing_again_changes_nothing(tmp_path):
    store = filled(Store(str(tmp_path)))
    erase(store, "12")
    before = everything(store)
    assert erase(store, "12")[0] == {}
    assert everything(store) == before


def test_the_rest_equals_a_store_that_never_had_the_participant(tmp_path):
    """The same, for every way in which items may be grouped into parts."""
    number = iter(range(1_000))

    @settings(max_examples=15, deadline=None)
    @given(
        owners=st.lists(st.sampled_from(["12", "120", "7", None]), min_size=1, max_size=8),
        sizes=st.lists(st.integers(1, 4), min_size=8, max_size=8),
        noted=st.sets(st.integers(0, 7)),
        again=st.sets(st.integers(0, 7)),
    )
    def check(owners, sizes, noted, again):
        videos = {name_of(who or "loose", n): who for n, who in enumerate(owners)}
        others = {name: who for name, who in videos.items() if who != "12"}
        seen = []
        for kept in (videos, others):
            store = Store(f"memory://{tmp_path}/{next(number)}")
            variant, names = cut_variant(store), list(videos)
            ends = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
            parts = [names[a:b] for a, b in pairwise(ends)]
            parts.append([name for n, name in enumerate(names) if n in again])
            commit_cuts(variant, videos, [[v for v in part if v in kept] for part in parts])
            variant.invalidate(
                {name: "1" for n, name in enumerate(names) if n in noted and name in kept}
            )
            if kept is videos:
                assert erase(store, "12")[1].is_clean
            expected = dict.fromkeys(videos, "1")
            seen.append((readable(variant, expected), variant.pending(dict.fromkeys(others, "1"))))
        assert seen[0] == seen[1]

    check()


_DIES_AT_A_STEP = """
import os, signal, sys
from storage.erasure.erase import find_traces, erase_participant
from storage.store.store import Store
from tests.storage.erasure.test_erase import filled
root, every = sys.argv[1], int(sys.argv[2])
os.fsync = lambda descriptor: None  # a killed process loses nothing that the system has
for step in range(0, 100_000, every):
    store = filled(Store(f"{root}/{step}"))
    traces = find_traces(store, "12")
    child = os.fork()
    if child == 0:
        left = [step]
        def watch(event, arguments):
            if event.split(".")[0] in ("open", "os", "shutil") and store.root in str(arguments):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
        erase_participant(store, traces)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(step)
        break
"""


@pytest.mark.slow
def test_a_kill_at_any_step_keeps_the_others_readable_and_a_second_call_finishes(tmp_path):
    every = 29
    command = [sys.executable, "-c", _DIES_AT_A_STEP, str(tmp_path), str(every)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    steps = range(0, int(done.stdout) + 1, every)
    assert len(steps) > 5
    others = {video: "1" for video, owner in OWNERS.items() if owner != "12"}
    undisturbed = filled(Store(str(tmp_path / "undisturbed")))
    variants = (cut_variant, lambda store: cut_variant(store, 30), sum_variant)
    items = others | {"others": "1"}
    expected = [readable(open_(undisturbed), items) for open_ in variants]
    left = []
    for step in steps:
        store = Store(str(tmp_path / str(step)))
        assert [readable(open_(store), items) for open_ in variants] == expected
        left.append(bool(find_traces(store, "12").videos))
        assert erase(store, "12")[1].is_clean
        assert [readable(open_(store), items) for open_ in variants] == expected
        assert "12" in read_erased(store)
        assert not store.exists(".erasing")
    assert (left[0], left[-1]) == (True, False)


def test_files_left_by_killed_runs_or_users_are_removed_or_found(tmp_path):
    store = filled(Store(str(tmp_path)))
    variant, video = cut_variant(store), name_of("12", 4)
    markers, root = (tmp_path / variant.path / "done").iterdir(), tmp_path
    marker = next(path for path in markers if video in path.read_text())
    orphan = tmp_path / variant.path / "Sample" / "0123456789abcdef.parquet"
    orphan.write_bytes((orphan.parent / f"{marker.stem}.parquet").read_bytes())
    for path, content in {
        f"{variant.path}/files/12_Question_9_never-listed-0123/0000.bin": "media",
        f"{variant.path}/logs/1.log": f"fault in {video}",
        f"{variant.path}/work/abc/step-1/progress.json": "{}",
        f"{variant.path}/done/damaged.json": f'{{"part": {{"items": {{"{video}": 1',
        f"{variant.path}/invalidated/damaged.json": video,
        ".cache/annotation/a.parquet": "not even a table",
    }.items():
        store.write_bytes(path, content.encode())
    for path in ("notes/from a colleague.txt", f"{variant.path}/Sample/mine.csv"):
        store.write_bytes(path, f"watch {video} again".encode())
    _, scan = erase(store, "12")
    assert scan.found == (f"{variant.path}/Sample/mine.csv", "notes/from a colleague.txt")
    assert not orphan.exists()
    for name in ("logs", "work", "files/12_Question_9_never-listed-0123", "done/damaged.json"):
        assert not (root / variant.path / name).exists(), name
    assert not (root / ".cache").exists()


def test_an_unreadable_table_is_reported_and_not_considered_clean(tmp_path):
    store = filled(Store(str(tmp_path)))
    store.write_bytes("elsewhere/rows.parquet", b"PAR1 of a sort PAR1")
    scan = erase(store, "12")[1]
    assert (scan.found, scan.unread) == ((), ("elsewhere/rows.parquet",))
    assert not scan.is_clean


def test_a_part_with_a_damaged_table_is_removed_and_its_other_items_are_pending(tmp_path):
    store = filled(Store(str(tmp_path)))
    variant = cut_variant(store)
    for table in (tmp_path / variant.path / "Talk").iterdir():
        table.write_bytes(table.read_bytes()[:-9])
    scan = erase(store, "12")[1]
    assert not scan.found
    again = cut_variant(Store(store.url))
    assert again.finished(EXPECTED) == set()
    assert cut_variant(Store(store.url), 30).pending(EXPECTED) == [
        name_of("12", n) for n in (1, 4, 12)
    ]


def test_tombstones_lose_the_participant_and_keep_the_others(tmp_path):
    store = filled(Store(str(tmp_path)))
    variant = cut_variant(store)
    some = {name_of("12", 12): "1", name_of("120", 1): "1"}
    variant.invalidate(some)
    assert erase(store, "12")[1].is_clean
    others = {video: "1" for video, owner in OWNERS.items() if owner != "12"}
    assert cut_variant(Store(store.url)).pending(others) == [name_of("120", 1)]


def test_a_participant_in_no_manifest_is_found_by_the_folder_of_the_videos(tmp_path):
    store = Store(str(tmp_path))
    video = name_of("12", 1)
    commit_cuts(cut_variant(store), {video: None, name_of("120", 1): None}, [[video]])
    assert find_traces(store, "12").videos == {video}
    assert find_traces(store, "1").videos == frozenset()


def test_nothing_is_erased_while_another_process_writes(tmp_path):
    store = filled(Store(str(tmp_path)))
    before = everything(store)
    with (
        store.staging(),
        pytest.raises(StoreError, match="Another process, such as a run, is writing"),
    ):
        erase(store, "12")
    assert everything(store) == before


def test_folders_without_a_variant_are_unchanged(tmp_path):
    store = filled(Store(str(tmp_path)))
    store.write_bytes("my notes/today/logs/1.log", b"nothing")
    assert not [path for path in variant_paths(store) if path.startswith("my notes")]
    erase(store, "12")
    assert store.exists("my notes/today/logs/1.log")


def test_the_record_of_an_unfinished_erasure_is_removed_at_the_end_and_its_path_names_nobody(
    tmp_path,
):
    store = filled(Store(str(tmp_path)))
    written = []
    write_bytes = Store.write_bytes

    def watch(self, path, content):
        written.append((path, content))
        write_bytes(self, path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write_bytes", watch)
        erase(store, "12")
    (note,) = [content for path, content in written if path.startswith(".erasing/")]
    assert json.loads(note) == sorted(v for v, owner in OWNERS.items() if owner == "12")
    assert not os.path.lexists(tmp_path / ".erasing")
    assert not any("12_" in path or "/12/" in path for path, _ in written)
