from pathlib import Path

import pytest

from storage.errors import ConfigError, StoreError
from tasks.export.output_path import atomic_folder, check_out_folder


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    check_out_folder(out)
    with atomic_folder(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    assert list(out.parent.iterdir()) == [out]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken_and_a_full_one_or_a_file_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    check_out_folder(out)
    with atomic_folder(out) as folder:
        (folder / "a").write_text("a")
    for location in (out, out / "a"):
        with pytest.raises(ConfigError, match=r"is there already.*--out"):
            check_out_folder(location)
    assert (out / "a").read_text() == "a"


def test_a_place_that_takes_no_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for location in (Path("/proc/out"), tmp_path / "file" / "out"):
        with pytest.raises(StoreError, match=r"^Cannot write .*out' .*--out\.$"):
            check_out_folder(location)
        with pytest.raises(StoreError, match="Cannot write"), atomic_folder(location):
            pass
