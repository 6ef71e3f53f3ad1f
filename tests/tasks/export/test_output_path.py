from pathlib import Path

import pytest

from storage.errors import ConfigError, StoreError
from tasks.export.output_path import check_out_folder


def test_a_new_or_an_empty_folder_is_accepted_and_a_full_one_or_a_file_is_not(
    tmp_path: Path,
) -> None:
    out = tmp_path / "deep" / "out"
    check_out_folder(out)
    assert list(tmp_path.iterdir()) == []
    out.mkdir(parents=True)
    check_out_folder(out)
    (out / "a").write_text("a")
    for path in (out, out / "a"):
        with pytest.raises(ConfigError, match=r"is there already.*--out"):
            check_out_folder(path)


def test_a_path_where_no_folder_can_be_created_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (Path("/proc/out"), tmp_path / "file" / "out"):
        with pytest.raises(StoreError, match=r"^Cannot write to .*out' .*--out\.$"):
            check_out_folder(path)
