"""The index of facts about files: never a stale one, whatever happens to files and to the index."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ItemFault
from storage.fingerprint import digest_file
from storage.store import file_identity
from storage.store.file_identity import identity_of
from storage.store.file_index import FileIndex, Verification, memory_index
from storage.store.store import Store

DAY = 24 * 3600 * 1_000_000_000
INDEX = ".cache/index/sources.parquet"


def age(path: Path, seconds: int = 3600) -> None:
    """Make a file's time of modification old; its time of status change stays."""
    old = time.time_ns() - seconds * 1_000_000_000
    os.utime(path, ns=(old, old))


@pytest.fixture
def quick_clock(monkeypatch) -> None:
    """Accept identities after 20 ms, as this file system's clock ticks more often than that."""
    monkeypatch.setattr(file_identity, "_CLOCK_NS", 20_000_000)


@pytest.fixture
def files(tmp_path, quick_clock) -> dict[str, Path]:
    """Three files whose identities count."""
    (tmp_path / "data").mkdir()
    paths = {name: tmp_path / "data" / name for name in "abc"}
    for name, path in paths.items():
        path.write_text(f"content of {name}")
    time.sleep(0.05)
    return paths


class Reader:
    """Counts which files are read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> str:
        self.read.append(path.name)
        return digest_file(path)


def look(store: Store | FileIndex, files: dict[str, Path]) -> tuple[dict[str, object], list[str]]:
    """Return the digests that an index gives, and the names of the files that were read."""
    index = store if isinstance(store, FileIndex) else store.index("sources")
    reader = Reader()
    return dict(index.iter_facts(files, reader)), sorted(reader.read)


def true_digests(files: dict[str, Path]) -> dict[str, str]:
    return {name: digest_file(path) for name, path in files.items()}


@pytest.fixture
def url(tmp_path) -> str:
    return str(tmp_path / "store")


def filled(url: str, files: dict[str, Path]) -> Store:
    store = Store(url)
    assert look(store, files) == (true_digests(files), ["a", "b", "c"])
    store.save_indexes()
    return store


def test_files_are_read_once_by_all_processes(url, files):
    store = filled(url, files)
    assert look(store, files) == (true_digests(files), [])
    assert look(Store(url), files) == (true_digests(files), [])


def test_only_a_changed_file_is_read_again(url, files):
    filled(url, files)
    files["b"].write_text("CONTENT OF B")
    digests, read = look(Store(url), files)
    assert (digests, read) == (true_digests(files), ["b"])


def test_an_index_in_memory_keeps_nothing(files):
    index = memory_index()
    assert look(index, files)[1] == ["a", "b", "c"]
    assert look(index, files)[1] == []
    index.save()
    assert look(memory_index(), files)[1] == ["a", "b", "c"]


def test_a_file_written_just_now_is_read_every_time(tmp_path, url):
    path = tmp_path / "a"
    path.write_text("content")
    store = Store(url)
    for _ in range(3):
        assert look(store, {"a": path})[1] == ["a"]
    age(path)
    assert look(store, {"a": path})[1] == ["a"], "a restored time of modification proves nothing"
    store.save_indexes()
    assert not store.exists(INDEX)


def test_a_file_that_changes_while_it_is_read_is_not_known(url, files):
    store = Store(url)

    def read(path: Path) -> str:
        digest = digest_file(path)
        path.write_text("changed meanwhile")
        return digest

    index = store.index("sources")
    assert dict(index.iter_facts({"a": files["a"]}, read)) != {"a": digest_file(files["a"])}
    time.sleep(0.05)
    assert look(store, files) == (true_digests(files), ["a", "b", "c"])


def test_errors_of_reading_are_returned_and_never_remembered(url, files):
    store = Store(url)
    paths = files | {"missing": files["a"].with_name("missing")}
    digests, read = look(store, paths)
    assert isinstance(digests.pop("missing"), FileNotFoundError)
    assert digests == true_digests(files)
    assert read == ["a", "b", "c", "missing"]
    assert look(store, paths)[1] == ["missing"]

    def fail(path: Path) -> str:
        raise ItemFault("damaged")

    with pytest.raises(ItemFault):
        list(store.index("other").iter_facts(files, fail))
    facts = dict(store.index("other").iter_facts(files, fail, catching=(ItemFault,)))
    assert {str(fault) for fault in facts.values()} == {"damaged"}


CHANGES = ("rewrite", "touch", "replace", "restore", "truncate", "delete", "look", "save", "open")


@given(st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from("abc")), max_size=25))
def test_whatever_happens_to_the_files_no_stale_digest_is_returned(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("files")
    files = {name: folder / name for name in "abc"}
    store = Store(str(tmp_path_factory.mktemp("store")))
    for number, (change, name) in enumerate(changes):
        _apply(change, files[name], f"{number:03d}")
        if change == "save":
            store.save_indexes()
        if change == "open":
            store = Store(store.url)
        if change == "look":
            present = {name: path for name, path in files.items() if path.exists()}
            assert look(store, present)[0] == true_digests(present)
    for each in (store, Store(store.url)):
        present = {name: path for name, path in files.items() if path.exists()}
        assert look(each, present)[0] == true_digests(present)


def _apply(change: str, path: Path, content: str) -> None:
    """Change a file, to a content of the same length; all within one tick of most clocks."""
    facts = path.stat() if path.exists() else None
    if change in ("rewrite", "restore"):
        path.write_text(content)
    if change == "replace":
        path.with_name("other").write_text(content)
        path.with_name("other").replace(path)
    if change == "touch":
        path.touch()
    if change == "restore" and facts:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    if change == "truncate" and facts:
        os.truncate(path, max(0, facts.st_size - 1))
    if change == "delete":
        path.unlink(missing_ok=True)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from("abc")), max_size=10))
def test_settled_files_that_change_are_read_again_and_others_are_not(tmp_path_factory, changes):
    """As above, with files old enough to be known: here the index is used, not avoided."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_identity, "_CLOCK_NS", 8_000_000)
        folder = tmp_path_factory.mktemp("files")
        files = {name: folder / name for name in "abc"}
        for name, path in files.items():
            path.write_text(f"00{name}")
        time.sleep(0.012)
        store = filled(str(tmp_path_factory.mktemp("store")), files)
        for number, (change, name) in enumerate(changes):
            _apply(change, files[name], f"{number:03d}")
            time.sleep(0.012)
            present = {name: path for name, path in files.items() if path.exists()}
            digests, read = look(store, present)
            assert digests == true_digests(present)
            assert set(read) <= {name}


def forge(url: str, path: Path) -> None:
    """Hand the index a digest of an earlier content for the identity that a file has now."""
    store = Store(url)
    store.index("sources").record(str(path), identity_of(path), "0" * 32, is_settled=True)
    store.save_indexes()


def test_damage_without_a_new_time_is_found_by_verifying_everything(url, files):
    filled(url, files)
    forge(url, files["b"])
    assert look(Store(url), files)[0] == true_digests(files) | {"b": "0" * 32}
    store = Store(url, Verification(everything=True))
    assert look(store, files) == (true_digests(files), ["a", "b", "c"])
    assert store.index("sources").num_silent == 1
    assert look(store, files)[1] == [], "once is enough"
    store.save_indexes()
    assert look(Store(url), files) == (true_digests(files), [])


def test_files_are_read_again_after_some_days_not_all_at_once(url, tmp_path, monkeypatch):
    paths = {str(number): tmp_path / str(number) for number in range(64)}
    for name, path in paths.items():
        path.write_text(name)
    now, started = time.time_ns, time.time_ns()
    offset = [DAY]
    monkeypatch.setattr("time.time_ns", lambda: now() + offset[0])
    store = Store(url, Verification(days=10))
    assert len(look(store, paths)[1]) == 64
    store.save_indexes()
    counts = []
    for days in (0, 4.9, 7, 10):
        offset[0] = DAY + int(days * DAY)
        counts.append(len(look(Store(url, Verification(days=10)), paths)[1]))
    assert counts[:2] == [0, 0]
    assert 0 < counts[2] < 64
    assert counts[3] == 64
    offset[0] = 0
    assert time.time_ns() < started + DAY
    assert len(look(Store(url), paths)[1]) == 64, "the clock was set back: nothing is sure"


def test_entries_that_nobody_may_use_any_more_are_dropped(url, files, monkeypatch):
    filled(url, files)
    now = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: now() + 31 * DAY)
    store = Store(url)
    look(store, {"a": files["a"]})
    store.save_indexes()
    monkeypatch.undo()
    assert len(Store(url).index("sources")._loaded()) == 1


def test_every_damage_of_the_index_costs_only_reading(url, files):
    store = filled(url, files)
    path = Path(store.full_path(INDEX))
    whole = path.read_bytes()
    for position in range(0, len(whole), 23):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        assert look(Store(url), files)[0] == true_digests(files)
    for content in (b"", b"PAR1", whole[:-9], whole[: len(whole) // 2]):
        path.write_bytes(content)
        opened = Store(url)
        assert look(opened, files) == (true_digests(files), ["a", "b", "c"])
        opened.save_indexes()
        assert look(Store(url), files)[1] == []


_KILLED = """
import os, sys
from pathlib import Path
from storage.store.store import Store
from storage.store import file_identity
from storage.fingerprint import digest_file
file_identity._CLOCK_NS = 20_000_000
store = Store(sys.argv[1])
paths = {name: Path(sys.argv[2], name) for name in "abc"}
dict(store.index("sources").iter_facts(paths, digest_file))
step = getattr(os, sys.argv[3])
def die(*arguments, **options):
    os.kill(os.getpid(), 9)
setattr(os, sys.argv[3], die)
Path.replace = die
store.save_indexes()
"""


@pytest.mark.parametrize("step", ["fsync", "rename"])
@pytest.mark.parametrize("is_filled", [True, False])
def test_a_kill_while_the_index_is_written_leaves_the_old_one(url, files, step, is_filled):
    if is_filled:
        filled(url, files)
        files["b"].write_text("CONTENT OF B")
        time.sleep(0.05)
    folder = str(files["a"].parent)
    command = [sys.executable, "-c", _KILLED, url, folder, step]
    assert subprocess.run(command, check=False).returncode == -9
    expected = ["b"] if is_filled else ["a", "b", "c"]
    assert look(Store(url), files) == (true_digests(files), expected)


_WRITER = """
import sys
from pathlib import Path
from storage.store.store import Store
from storage.fingerprint import digest_file
from storage.store import file_identity
file_identity._CLOCK_NS = 20_000_000
for number in range(int(sys.argv[3]), 40, 3):
    store = Store(sys.argv[1])
    paths = {str(number): Path(sys.argv[2], str(number))}
    dict(store.index("sources").iter_facts(paths, digest_file))
    store.save_indexes()
"""


def test_processes_that_write_at_once_leave_a_whole_index_of_true_digests(url, tmp_path, files):
    paths = {str(number): tmp_path / str(number) for number in range(40)}
    for name, path in paths.items():
        path.write_text(f"content {name}")
    time.sleep(0.05)
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, url, str(tmp_path), str(number)])
        for number in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    digests, read = look(Store(url), paths)
    assert digests == true_digests(paths)
    assert len(read) < len(paths), "most entries were kept"


def test_threads_use_one_index(url, tmp_path, files):
    store = Store(url)
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(look(store, files)[0])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [true_digests(files)] * 8


def test_what_was_distrusted_is_read_again_by_everyone(url, files):
    filled(url, files)
    store = Store(url)
    index = store.index("sources")
    assert index.distrust(files["b"])
    store.save_indexes()
    assert look(Store(url), files) == (true_digests(files), ["b"])
    look(store, files)
    assert not index.distrust(files["b"]), "this process has read it"
    assert look(store, files)[1] == []


def test_the_index_names_nobody(url, files):
    store = filled(url, files)
    content = Path(store.full_path(INDEX)).read_bytes()
    assert str(files["a"].parent).encode() not in content
    assert b"content" not in content
