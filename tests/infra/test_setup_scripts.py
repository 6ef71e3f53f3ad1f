"""Scripts that install what is missing: nothing to do, or nothing that could be done."""

import shutil
import subprocess
from pathlib import Path

from tests.command_checks import ROOT

SCRIPT = ROOT / "infra" / "test_programs.sh"
TOOLS = ("bash", "dirname", "env", "id", "mktemp", "rm")


def run(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the script with no programs but those in the folder."""
    return subprocess.run(
        [SCRIPT], env={"PATH": str(folder)}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_without_a_package_manager_the_missing_programs_are_named(tmp_path: Path) -> None:
    for name in TOOLS:
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    ended = run(tmp_path)
    assert ended.returncode == 0, ended.stdout
    (line,) = ended.stdout.splitlines()
    assert "Not installed, and could not be: chromium openssl" in line
    assert line.endswith("The tests that need them are skipped.")


def test_with_all_programs_there_is_nothing_to_do(tmp_path: Path) -> None:
    for name in (*TOOLS, "chromium", "openssl", "initdb"):
        (tmp_path / name).symlink_to(shutil.which(name) or "/bin/true")
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")
