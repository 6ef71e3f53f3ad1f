import pytest

from storage.errors import StoreError
from storage.store.temporary import sign_of_process, staging_folder


def test_a_staging_folder_is_empty_and_removed_with_its_files(tmp_path):
    with staging_folder(tmp_path / "new", "store") as folder:
        assert folder.parent == tmp_path / "new"
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
    assert not folder.exists()


def test_a_sign_exists_while_the_process_is_at_work(tmp_path):
    with sign_of_process(tmp_path, "store"):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_disk_name_the_store(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match="Cannot write to 'the store'"),
        staging_folder(tmp_path / "file", "the store"),
    ):
        pass
