from pathlib import Path

import pytest

from storage.errors import ConfigError, StoreError
from tasks.export.output_path import check_output_file, check_output_folder


@pytest.mark.parametrize("name", ["t", "t.xlsx", "folder.csv"])
def test_file_without_a_known_format_is_a_mistake(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match="--out"):
        check_output_file(tmp_path / name)


@pytest.mark.parametrize("check", [check_output_file, check_output_folder])
def test_missing_parent_folder_is_a_mistake_and_is_not_created(tmp_path: Path, check) -> None:
    (tmp_path / "file").write_text("")
    for parent in (tmp_path / "deep" / "deeper", tmp_path / "file", Path("/proc/deep")):
        with pytest.raises(ConfigError, match=f"The folder '{parent}' of --out does not exist"):
            check(parent / "t.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("check", [check_output_file, check_output_folder])
def test_path_that_cannot_be_written_is_reported_in_one_sentence(check) -> None:
    with pytest.raises(StoreError, match=r"^Cannot write to .*t\.csv' .*--out\.$"):
        check(Path("/proc/t.csv"))


def test_check_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_output_file(Path("t.csv"))
    check_output_file(tmp_path / "t.JSON", (".json",))
    check_output_folder(Path("out"))
    assert list(tmp_path.iterdir()) == []


def test_empty_folder_is_accepted_and_a_nonempty_one_or_a_file_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    check_output_folder(out)
    (out / "a").write_text("a")
    for path in (out, out / "a"):
        with pytest.raises(ConfigError, match=r"already exists.*--out"):
            check_output_folder(path)
