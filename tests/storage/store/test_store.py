import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from storage.errors import ConfigError, StoreError
from storage.store.fetch import local_folder
from storage.store.store import Store
from storage.store.url import is_missing, local_root
from storage.store.variant import open_variant


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path) -> Store:
    if request.param == "folder":
        return Store(str(tmp_path / "a store"))
    return Store(f"memory://{tmp_path}")


def test_written_files_are_read_listed_and_removed(store):
    store.write_bytes("stage/one.txt", b"1")
    store.write_bytes("stage/two.txt", b"22")
    store.write_bytes("stage/deeper/three.txt", b"333")
    assert store.open("stage/two.txt").read() == b"22"
    assert store.list_files("stage") == ["stage/one.txt", "stage/two.txt"]
    assert store.list_files("nowhere") == []
    store.remove("stage")
    assert not store.exists("stage/deeper/three.txt")
    store.remove("stage")


def test_opening_a_store_leaves_nothing_but_its_own_folder(tmp_path):
    Store(str(tmp_path / "store"))
    assert files_under(tmp_path) == []


def test_publishing_moves_a_local_file_into_the_store(store):
    with store.staging() as folder:
        local = folder / "made.bin"
        local.write_bytes(b"content")
        store.publish(local, "stage/files/made.bin")
        assert not local.exists()
    assert store.open("stage/files/made.bin").read() == b"content"
    assert not folder.exists()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second disk at /dev/shm")
def test_a_file_published_from_another_disk_appears_whole(tmp_path):
    store = Store(str(tmp_path))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        local = Path(elsewhere) / "weights"
        local.write_bytes(b"x" * 100_000)
        store.publish(local, "model/weights")
        assert not local.exists()
    assert files_under(tmp_path) == ["model/weights"]


def test_a_reader_keeps_the_file_it_opened_while_it_is_replaced(tmp_path):
    store = Store(str(tmp_path))
    store.write_bytes("a", b"old" * 1_000)
    with store.open("a") as reader:
        assert reader.read(3) == b"old"
        store.write_bytes("a", b"new" * 1_000)
        assert reader.read() == b"old" * 999
    assert store.open("a").read() == b"new" * 1_000


def test_a_file_state_follows_every_change_of_content(store):
    assert store.file_state("a") is None
    seen = set()
    for content in (b"one", b"two", b"three", b"one!", b"wno"):
        store.write_bytes("a", content)
        seen.add(store.file_state("a"))
    assert len(seen) == 5
    store.remove("a")
    assert store.file_state("a") is None


def test_a_file_state_is_the_same_in_a_store_opened_again(tmp_path):
    Store(str(tmp_path)).write_bytes("a", b"content")
    states = {Store(str(tmp_path)).file_state("a") for _ in range(2)}
    assert len(states) == 1


def test_a_small_file_is_parsed_once_until_it_changes(store, monkeypatch):
    store.write_bytes("a", b"7")
    reads = []
    opened = Store.open
    monkeypatch.setattr(Store, "open", lambda self, path: reads.append(path) or opened(self, path))
    for _ in range(3):
        assert store.parsed("a", int) == 7
    assert reads == ["a"]
    Store(store.url).write_bytes("a", b"8")
    assert store.parsed("a", int) == 8
    assert reads == ["a", "a"]
    assert store.parsed("b", int) is None


def test_a_folder_instead_of_a_file_has_no_state(tmp_path):
    store = Store(str(tmp_path))
    (tmp_path / "stage" / "table.parquet").mkdir(parents=True)
    assert store.file_state("stage/table.parquet") is None


def test_staging_is_removed_even_if_the_work_fails(tmp_path):
    store = Store(str(tmp_path))
    with contextlib.suppress(ZeroDivisionError), store.staging() as folder:
        (folder / "half").write_bytes(b"x")
        raise ZeroDivisionError
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("url", ["nosuch://bucket/store", "s3nosuch://x"])
def test_an_unknown_protocol_is_a_setting_to_correct(url):
    with pytest.raises(ConfigError, match=f"{url}.*name a folder or an fsspec URL"):
        Store(url)


@pytest.mark.parametrize("url", ["", " ", "file://", "file:// ", "a\0b"])
def test_a_url_without_a_usable_path_is_a_setting_to_correct(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    for use in (Store, local_root, is_missing):
        with pytest.raises(ConfigError, match=r"^The store.*with --store\.$"):
            use(url)
    assert list(tmp_path.iterdir()) == []


def test_whether_a_store_is_missing_is_known_without_creating_it(tmp_path):
    assert is_missing(str(tmp_path / "store"))
    assert is_missing("/proc/x")
    assert not is_missing(str(tmp_path))
    assert not is_missing("memory://nowhere")
    with pytest.raises(StoreError, match="File name too long"):
        is_missing("x" * 300)


@pytest.mark.parametrize("below", ["", "/store", "/deeper/store"])
def test_a_store_at_or_below_a_file_is_rejected_in_one_sentence(tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"Cannot write to .*name a writable location"):
        Store(f"{tmp_path}/file{below}")
    assert (tmp_path / "file").read_text() == "in the way"


_BEYOND_THE_LIMIT = """
import resource, signal, sys
from pathlib import Path
from storage.errors import StoreError
from storage.store.store import Store
store = Store(sys.argv[1])
store.write_bytes("old", b"as it was")
local = Path(sys.argv[2], "weights")
local.write_bytes(bytes(300_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
writes = [(store.write_bytes, "old", bytes(300_000)), (store.publish, local, "new")]
for write, *arguments in writes:
    try:
        write(*arguments)
    except StoreError as error:
        print(error)
"""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second disk at /dev/shm")
def test_a_write_that_does_not_fit_keeps_the_old_content(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        command = [sys.executable, "-c", _BEYOND_THE_LIMIT, str(tmp_path), elsewhere]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.count("No space left while writing to ") == 2
    assert files_under(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"as it was"


_AS_NOBODY = """
import os, sys
from storage.store.store import Store
from storage.store.disk import space_on, writing_to
from storage.errors import StoreError
store = Store(sys.argv[1]) if sys.argv[2] == "opened before" else None
os.chmod(sys.argv[1], 0o555)
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    (store or Store(sys.argv[1] + "/new")).write_bytes("stage/a", b"x")
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("when", ["opened before", "opened now"])
def test_a_folder_without_write_permission_is_rejected_in_one_sentence(when):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-c", _AS_NOBODY, folder, when]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        Path(folder).chmod(0o755)
        assert files_under(Path(folder)) == []
    assert output.startswith("Cannot write to ")
    assert "(Permission denied): name a writable location with --store." in output


def _leave_behind(store: Store, script: str) -> None:
    """Kill a process while it holds what the script takes from the store."""
    start = f"import os; from storage.store.store import Store; store = Store({store.url!r})"
    lines = f"{start}\n{script}\nos.kill(os.getpid(), 9)\n"
    done = subprocess.run([sys.executable, "-c", lines], check=False)
    assert done.returncode == -9


def test_sweeping_removes_only_files_of_dead_processes(tmp_path):
    store = Store(str(tmp_path))
    _leave_behind(store, "lent = store.staging(); (lent.__enter__() / 'half').write_bytes(b'x')")
    _leave_behind(
        store, "os.fsync = lambda _: os.kill(os.getpid(), 9); store.write_bytes('a', b'x')"
    )
    with store.staging() as mine:
        (mine / "in work").write_bytes(b"x")
        assert store.sweep() == 2
        assert [path.name for path in (tmp_path / ".tmp").iterdir()] == [mine.name]
        assert (mine / "in work").exists()
    assert store.sweep() == 0


def test_sweeping_keeps_files_of_other_hosts_for_a_week(tmp_path):
    store = Store(str(tmp_path))
    foreign = tmp_path / ".tmp" / f"0badf00d-{2**22 + 1}-0123456789ab"
    foreign.mkdir()
    assert store.sweep() == 0
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(foreign, (eight_days_ago, eight_days_ago))
    assert store.sweep() == 1
    assert not foreign.exists()


def test_what_a_killed_process_left_beside_a_remote_store_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = Store(f"memory://{tmp_path}")
    assert store.sweep() == 0
    process_id = os.fork()
    if process_id == 0:
        with store.staging() as folder:
            (folder / "unfinished").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process_id, 0)
    with store.staging() as folder:
        assert len(list(folder.parent.iterdir())) == 2
        assert store.sweep() == 1
        assert list(folder.parent.iterdir()) == [folder]


def test_a_variant_is_named_by_its_settings_version_and_upstream(store):
    def variant_id(**changes):
        facts = {"version": 1, "settings": {"crf": 23}, "upstream": ("abc",)} | changes
        return open_variant(store, "segment", **facts).variant_id

    names = [
        variant_id(),
        variant_id(version=2),
        variant_id(settings={"crf": 24}),
        variant_id(upstream=("abd",)),
    ]
    assert len(set(names)) == 4
    assert variant_id() == names[0]


def test_a_variant_stores_its_settings_as_readable_json(store):
    variant = open_variant(store, "segment", version=3, settings={"crf": 23, "name": "é"})
    text = store.open(variant.identity_path).read().decode()
    assert '"crf": 23' in text
    assert '"version": 3' in text
    assert "é" in text


def test_stores_do_not_mix(tmp_path):
    one, other = Store(f"memory://{tmp_path}/1"), Store(f"memory://{tmp_path}/2")
    one.write_bytes("a", b"1")
    assert not other.exists("a")
    other.write_bytes("a", b"2")
    assert one.file_state("a") != other.file_state("a")


def test_the_folder_of_a_local_store_is_known_before_it_exists(tmp_path):
    urls = [f"{tmp_path}/a", f"file://{tmp_path}/a", f"local://{tmp_path}/a"]
    assert {local_root(url) for url in urls} == {tmp_path / "a"}
    assert local_root("memory://a") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_local_store_is_used_without_a_copy(tmp_path):
    assert local_folder(Store(str(tmp_path)), "a/model") == tmp_path / "a" / "model"
