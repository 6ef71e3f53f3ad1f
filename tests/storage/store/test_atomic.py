import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.store.atomic import (
    atomic_file,
    atomic_folder,
    is_abandoned,
    move_file,
    remove_abandoned,
    replace_folder,
    temporary_name,
)
from storage.store.disk import creating


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def name_of_a_dead_process() -> str:
    """Return a temporary name of a process of this host that has exited."""
    host, _, unique = temporary_name().split("-")
    with subprocess.Popen(["true"]) as exited:
        pass
    return f"{host}-{exited.pid}-{unique}"


def test_a_file_appears_whole_and_its_folders_with_it(tmp_path):
    path = tmp_path / "deep" / "file"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_file_that_fails_leaves_the_old_content_and_nothing_else(tmp_path, error):
    (tmp_path / "file").write_text("old")

    def write() -> None:
        with atomic_file(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    out = tmp_path / "deep" / "out"
    with atomic_folder(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert names(out) == ["a"]
    assert names(out.parent) == ["out"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    def write() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(tmp_path) == []


def test_an_existing_folder_is_kept_or_is_an_error(tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("first")
    with atomic_folder(tmp_path / "out", keep_existing=True) as folder:
        (folder / "a").write_text("second")
    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "a").read_text() == "first"
    assert names(tmp_path) == ["out"]


def test_a_file_in_the_way_of_a_folder_is_an_error_though_existing_ones_are_kept(tmp_path):
    (tmp_path / "out").write_text("")
    with (
        pytest.raises(OSError, match="directory"),
        atomic_folder(tmp_path / "out", keep_existing=True),
    ):
        pass
    assert names(tmp_path) == ["out"]


def test_a_finished_folder_replaces_another(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / name).write_text(name)
    replace_folder(tmp_path / "new", tmp_path / "old")
    assert names(tmp_path) == ["old"]
    assert names(tmp_path / "old" / "deep") == ["new"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second disk at /dev/shm")
def test_a_file_moves_from_another_disk(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        source = Path(elsewhere, "source")
        source.write_text("content")
        move_file(source, tmp_path / "file", temporary_folder=tmp_path / "temporary")
        assert not source.exists()
    assert (tmp_path / "file").read_text() == "content"
    assert names(tmp_path / "temporary") == []


def test_only_what_dead_processes_left_is_removed(tmp_path):
    dead, alive = name_of_a_dead_process(), temporary_name()
    (tmp_path / f".{dead}").write_text("half")
    (tmp_path / dead).mkdir()
    (tmp_path / dead / "half").write_text("half")
    for name in (alive, f".{alive}", "other", f"{dead}.json"):
        (tmp_path / name).write_text("")
    assert remove_abandoned(tmp_path) == 2
    assert names(tmp_path) == sorted([alive, f".{alive}", "other", f"{dead}.json"])
    assert remove_abandoned(tmp_path / "missing") == 0


def test_a_temporary_file_of_another_host_is_abandoned_after_a_week(tmp_path):
    path = tmp_path / ".0badf00d-1-0123456789ab"
    path.write_text("")
    assert not is_abandoned(path)
    os.utime(path, (0, 0))
    assert is_abandoned(path)
    path.unlink()
    assert not is_abandoned(path)


_DIES_AT_A_CALL = """
import os, signal, sys
from pathlib import Path
from storage.store.atomic import atomic_file
path = Path(sys.argv[1], "file")
path.write_text("old")
for call in range(1_000):
    child = os.fork()
    if child == 0:
        left = [call]
        def watch(event, arguments):
            if event.split(".")[0] in ("open", "os") and str(path.parent) in str(arguments):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
        with atomic_file(path) as temporary:
            temporary.write_text("new")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(path.read_text())
    if status == 0:
        break
"""


def test_a_kill_at_any_call_leaves_the_old_or_the_new_content(tmp_path):
    command = [sys.executable, "-c", _DIES_AT_A_CALL, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "old"
    assert found[-1] == "new"
    assert found == sorted(found, reverse=True)  # "old", until the rename
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ["file"]


def test_whatever_keeps_a_location_from_being_created_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (Path("/proc/out"), tmp_path / "file" / "out", tmp_path / ("x" * 300)):
        clear = r"^Cannot write to .*\): name a writable location with --out\.$"
        with (
            pytest.raises(StoreError, match=clear),
            creating(str(path), "--out"),
            atomic_folder(path),
        ):
            pass
