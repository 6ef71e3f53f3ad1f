"""The zoo's videos, each made by ffmpeg when a test first asks for it; and what tests share."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

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
