"""Cost of runs with nothing to do, and of looks at a store: wall and CPU seconds, peak memory.

``python -m infra.benchmarks.orchestration [--sizes N ...]``; exit status 1 above the targets. Each
command runs in a process of its own, on a synthetic store (`synthetic_store`), with a Prefect
server of its own, which counts. Every command is run twice, and the second time is reported: the
first one reads each file that the store was just written with.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.context.request import RunRequest
from infra.benchmarks.synthetic_store import write_results, write_videos

MODEL = Path(__file__).parents[1] / "sandbox" / "models" / "omni-base"
SIZES = (1_427, 10_000, 100_000)
PROFILE = "sandbox"
ONE_STAGE = "`run --only segment`"
ALL_STAGES = "`run`, five stages"  # without a target of time of its own
_MAX_SECONDS = {1_427: 15.0, 100_000: 90.0}  # of one stage
_MAX_LOOK_SECONDS = 60.0  # of the commands that only look
_MAX_MIB = 2_048.0
_MAX_CHECKED = 2_000
_MIN_AGE_SECONDS = 3  # a file that was written just now is read again


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one command cost; ``peak_mib`` is that of its largest process."""

    command: str
    num_videos: int
    wall: float
    cpu: float
    peak_mib: float

    @property
    def is_within_targets(self) -> bool:
        """True if wall time and memory are; a run of one stage has targets of time at two sizes."""
        return self.wall <= self.max_seconds and self.peak_mib <= _MAX_MIB

    @property
    def max_seconds(self) -> float:
        """The target of wall time."""
        if self.command == ONE_STAGE:
            return _MAX_SECONDS.get(self.num_videos, float("inf"))
        return float("inf") if self.command == ALL_STAGES else _MAX_LOOK_SECONDS

    def line(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.command} | {self.num_videos:,} | {self.wall:.1f} | {self.cpu:.1f} | "
            f"{self.peak_mib:.0f} |"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.orchestration")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of videos")
    parser.add_argument("--folder", type=Path, help="where to write the stores; removed at the end")
    options = parser.parse_args(arguments)
    print(
        "| nothing to do | videos | wall s | CPU s | peak MiB |\n|---|---|---|---|---|", flush=True
    )
    all_within = True
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            for measured in measure(Path(name), size):
                print(measured.line(), flush=True)
                all_within &= measured.is_within_targets
    print(f"| target of one stage | 1,427 and 100,000 | 15 and 90 | | {_MAX_MIB:.0f} |")
    print(f"| target without a run | | {_MAX_LOOK_SECONDS:.0f} | | {_MAX_MIB:.0f} |")
    return 0 if all_within else 1


def measure(folder: Path, num_videos: int) -> Iterator[Measured]:
    """Write a store for so many videos, and measure each command on it."""
    data, store = folder / "data", folder / "store"
    write_videos(data, num_videos)
    write_results(RunRequest(data=str(data), store=str(store), profile=PROFILE, model=str(MODEL)))
    time.sleep(_MIN_AGE_SECONDS)
    env = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
    env.pop("PREFECT_API_URL", None)
    for name, command in commands(data, store, num_videos).items():
        run(command, env)
        wall, cpu, peak_mib = run(command, env)
        yield Measured(command=name, num_videos=num_videos, wall=wall, cpu=cpu, peak_mib=peak_mib)


def commands(data: Path, store: Path, num_videos: int) -> dict[str, list[str]]:
    """Return the measured commands by their name in the table.

    `check` opens every file when it first runs, at about 20 videos per second.
    """
    stored = ["--store", str(store)]
    check = ["check", "--data", str(data), *stored]
    request = ["--data", str(data), *stored, "--profile", PROFILE]
    return {
        ONE_STAGE: ["run", *request, "--only", "segment"],
        ALL_STAGES: ["run", *request, "--model", str(MODEL)],
        "`plan`": ["plan", *request, "--model", str(MODEL)],
        "`status`": ["status", *stored],
        "`rejected`": ["rejected", *stored],
        "`gc`": ["gc", *stored],
        "`runs`": ["runs"],
    } | ({"`check`": check} if num_videos <= _MAX_CHECKED else {})


# A process's peak memory includes that of the process it was forked from, here a small one.
_METER = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(child.pid, 0)
with open(sys.argv[1], "w") as stream:
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=stream)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(arguments: Sequence[str], env: Mapping[str, str]) -> tuple[float, float, float]:
    """Run `waver` to its end; return wall and CPU seconds and the peak memory in MiB.

    CPU seconds include those of its Prefect server; the memory is of the larger process.

    Raises:
        CalledProcessError: it did not succeed.
    """
    command = [sys.executable, "-m", "flows.cli.main", *arguments]
    with tempfile.NamedTemporaryFile("r") as used:
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", _METER, used.name, *command],
            env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=True,
        )  # fmt: skip
        wall = time.monotonic() - started
        cpu, peak_mib = map(float, used.read().split())
    return wall, cpu, peak_mib


if __name__ == "__main__":
    sys.exit(main())
