"""Runs of the whole command line in tests: every one a process of its own."""

import subprocess
import sys
from pathlib import Path

from flows.context.request import RunRequest

QUICK = (
    "finetune.steps=4", "finetune.eval_steps=2", "finetune.batch_size=8",
    "aggregate.bootstrap_draws=50",
)  # fmt: skip


def command(data: Path, store: Path, *options: str) -> list[str]:
    overrides = [part for setting in QUICK for part in ("--set", setting)]
    return [
        sys.executable, "-m", "flows.cli.main", "run", "--profile", "sandbox",
        "--data", str(data), "--store", str(store), *overrides, *options,
    ]  # fmt: skip


def run(server: dict[str, str], data: Path, store: Path, *options: str, status: int = 0) -> str:
    ended = subprocess.run(
        command(data, store, *options),
        env=server, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout


def request_of(data: Path, store: Path, model: Path | None = None) -> RunRequest:
    """The same run's request, to read its results."""
    return RunRequest(
        data=str(data), store=str(store), profile="sandbox", overrides=QUICK,
        model=str(model) if model else None,
    )  # fmt: skip


def computed(output: str, stage: str) -> int:
    """How many items a stage computed, from the line it ends with."""
    (line,) = [line for line in output.splitlines() if f"{stage}: " in line and " cached, " in line]
    return int(line.split(" cached, ")[1].split(" computed")[0])
