import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.context.request import RunRequest
from flows.server.environment import prepare_environment
from flows.server.local_server import prefect_server
from tests.flows.commands.command_line import Waver, forked_waver
from tests.flows.toys import finish, request_of, write_release


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "data").mkdir()
    (folder / "files").mkdir()
    write_release(folder / "data")
    finish(request_of(folder / "data", folder / "store"), folder / "files")
    return folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> RunRequest:
    """A request whose stages are all finished, with its own copies of data and store."""
    for name in ("data", "store"):
        shutil.copytree(finished_once / name, tmp_path / name)
    return request_of(tmp_path / "data", tmp_path / "store")


@pytest.fixture(scope="session")
def server(new_history: Callable[[pytest.MonkeyPatch], Path]) -> Iterator[dict[str, str]]:
    """One Prefect server for all runs of a worker's modules; yields the runs' environment.

    The tests' own process is no client of it: its environment is as before.
    """
    before = dict(os.environ)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            prepare_environment(new_history(patch))
            api_url = stack.enter_context(prefect_server())
            environment = {**os.environ, "PREFECT_API_URL": api_url, "PYTHONUNBUFFERED": "1"}
        os.environ.clear()
        os.environ.update(before)
        yield environment
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PREFECT_HOME", environment["PREFECT_HOME"])
            stack.close()


@pytest.fixture(scope="session")
def waver(server: dict[str, str]) -> Iterator[Waver]:
    with forked_waver(server) as waver:
        yield waver
