import shutil
from pathlib import Path

import pytest

from flows.request import RunRequest
from tests.flows.toys import finish, request_of, write_release


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "data").mkdir()
    (folder / "made").mkdir()
    write_release(folder / "data")
    finish(request_of(folder / "data", folder / "store"), folder / "made")
    return folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> RunRequest:
    """A request of which every stage is finished, in a store of the test's own."""
    shutil.copytree(finished_once / "store", tmp_path / "store")
    return request_of(finished_once / "data", tmp_path / "store")
