"""What tests share: the zoo's videos, each made when first asked for, and an empty history."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from flows.server import prefect_server
from infra.zoo.shelf import Shelf

# The same examples for everyone; look for new ones with --hypothesis-profile=explore.
settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the path of a small video by name; sources are shared, so never write to one."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("ffmpeg is not installed: run `make setup`")
    return Shelf(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def with_own_mounts() -> list[str]:
    """Give the command in front of one that mounts disks of its own; skips where nobody may."""
    prefix = ["unshare", "-rm"]
    probe = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if (
        shutil.which(prefix[0]) is None
        or subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode
    ):
        pytest.skip("no right to mount a small disk here")
    return prefix


@pytest.fixture(scope="session")
def empty_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home whose database has its tables: making them takes a server 10 s."""
    home = tmp_path_factory.mktemp("empty history")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.delenv("PREFECT_API_URL", raising=False)
        with prefect_server():
            pass
    (home / "server.log").unlink()
    return home


@pytest.fixture(scope="session")
def new_history(
    empty_history: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[pytest.MonkeyPatch], Path]:
    """Give a Prefect home of its own to whoever asks, and set it as this process's."""

    def make(patch: pytest.MonkeyPatch) -> Path:
        home = tmp_path_factory.mktemp("history") / "prefect home"
        shutil.copytree(empty_history, home)
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.delenv("PREFECT_API_URL", raising=False)
        return home

    return make
