"""A PostgreSQL server of Debian's packages in a temporary folder, on a Unix socket alone."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_USER = "postgres"  # created by the package; root may not run the server
_START_SECONDS = 60.0


def _programs() -> Path:
    """Return the folder of the newest version's programs; skip the test where there is none."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = versions[-1] if versions else shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL is not installed: run `infra/test_programs.sh` as root")
    return Path(found).parent


def _as_user() -> list[str]:
    """Return a command prefix: an unprivileged user, whose process ends with this one."""
    prefix = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        prefix += [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
    return prefix


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the SQLAlchemy URL of a new, empty database; the server stops at the end."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="waver-postgresql-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, _USER, _USER)
        data, user = folder / "data", _as_user()
        created = subprocess.run(
            [*user, programs / "initdb", "-D", data, "-U", "prefect", "--auth=trust", "--no-sync"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, cwd=folder,
        )  # fmt: skip
        assert created.returncode == 0, created.stdout
        log = folder / "server.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [*user, programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder,
            )  # fmt: skip
        try:
            _create_database(programs, folder, server, log)
            yield f"postgresql+asyncpg://prefect@/prefect?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # closes its connections, writes its data, ends
            server.wait(timeout=_START_SECONDS)


def _create_database(
    programs: Path, folder: Path, server: "subprocess.Popen[bytes]", log: Path
) -> None:
    """Create the database `prefect`, as soon as the server responds."""
    deadline = time.monotonic() + _START_SECONDS
    command = [programs / "createdb", "-h", folder, "-U", "prefect", "prefect"]
    while subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
