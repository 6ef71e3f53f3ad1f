"""Overhead of the Ray runner against local threads on one node: the same stage, the same videos.

``python -m infra.benchmarks.runner [--videos N] [--rounds N]``; exit status 1 above the target. A
Prefect server and a Ray cluster of this computer alone are started first. In each round both
runners cut a single video into an empty store, in turn, then all of them, and run once more with
nothing to do; every command is a process of its own, timed as a whole.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.server.environment import prepare_environment
from flows.server.local_server import prefect_server
from infra.benchmarks.orchestration import PROFILE, run
from infra.benchmarks.ray_node import one_node

RUNNERS = ("local", "ray")
WORKS = {"one video": "one", "all videos": "all", "nothing to do": "all"}  # and its data folder
_MAX_FRACTION, _MAX_VIDEO_SECONDS = 0.03, 0.010
_SECONDS = 1  # of a video


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall seconds of a command, and CPU seconds of its processes, here and on the node."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The cost of the same work with both runners, medians over the rounds."""

    work: str
    num_videos: int
    local: Cost
    ray: Cost

    @property
    def is_within_target(self) -> bool:
        """True if Ray adds at most 3 % or 10 ms per video of wall time."""
        added = self.ray.wall - self.local.wall
        return (
            added <= _MAX_FRACTION * self.local.wall
            or added <= _MAX_VIDEO_SECONDS * self.num_videos
        )

    def further_videos(self, single: "Compared") -> "Compared":
        """Return the cost of one more video, after the start that a single video pays for."""
        count = self.num_videos - single.num_videos

        def per_video(cost: Cost, first: Cost) -> Cost:
            return Cost((cost.wall - first.wall) / count, (cost.cpu - first.cpu) / count)

        return Compared(
            work="each further video", num_videos=1,
            local=per_video(self.local, single.local), ray=per_video(self.ray, single.ray),
        )  # fmt: skip

    def line(self) -> str:
        """Return the row of the table."""
        cells = [self.work, f"{self.num_videos:,}"]
        for local, ray in ((self.local.wall, self.ray.wall), (self.local.cpu, self.ray.cpu)):
            cells += [
                f"{local:.3g}",
                f"{ray:.3g}",
                f"{100 * (ray / local - 1):+.0f}%" if local > 0 else "",
            ]
        added = 1_000 * (self.ray.wall - self.local.wall) / max(1, self.num_videos)
        return f"| {' | '.join([*cells, f'{added:+.0f}'])} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 1 if the target is missed with all videos."""
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.runner")
    parser.add_argument("--videos", type=int, default=600, help="how many to cut, at least 2")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        nothing, one, everything = measure(Path(name), options.videos, options.rounds)
    print(
        "| work | videos | local s | ray s | more | local CPU s | ray CPU s | more | ms a video |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in (nothing, one, everything, everything.further_videos(one)):
        print(row.line())
    print("| target | | | | 3% | | | | or 10 |")
    return 0 if everything.is_within_target else 1


def measure(folder: Path, num_videos: int, num_rounds: int) -> list[Compared]:
    """Return the cost of no, of one, and of all videos."""
    write_videos(folder / "one", 1)
    write_videos(folder / "all", num_videos)
    prepare_environment(folder / "prefect")
    costs: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    with one_node() as node, prefect_server() as api_url:
        env = {**os.environ, "PREFECT_API_URL": api_url}
        for number in range(num_rounds):
            for work, data in WORKS.items():
                for runner in RUNNERS if number % 2 == 0 else reversed(RUNNERS):
                    store = folder / f"{data}-{number}-{runner}"
                    paths = ["--data", str(folder / data), "--store", str(store)]
                    before = node.cpu_seconds()
                    wall, cpu, _ = run([*command_of(runner, node.address), *paths], env)
                    cost = Cost(wall, cpu + node.cpu_seconds() - before)
                    costs[work, runner].append(cost)
                    print(f"{work}, {runner}: {cost}", file=sys.stderr, flush=True)
    counts = {"nothing to do": 0, "one video": 1, "all videos": num_videos}
    return [
        Compared(
            work=work, num_videos=count,
            local=_median(costs[work, "local"]), ray=_median(costs[work, "ray"]),
        )
        for work, count in counts.items()
    ]  # fmt: skip


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
    )


def command_of(runner: str, address: str) -> list[str]:
    """Return the command that segments with a runner, without its paths."""
    settings = [f"resources.runner={runner}", f"resources.ray_address={address}"]
    options = [part for setting in settings for part in ("--set", setting)]
    return ["run", "--profile", PROFILE, "--only", "segment", *options]


def write_videos(folder: Path, count: int) -> None:
    """Write videos of a second with a tone, no two alike."""
    folder.mkdir()
    source = folder / "source.mp4"
    video = f"testsrc2=size=160x120:rate=25:duration={_SECONDS}"
    audio = f"sine=frequency=300:duration={_SECONDS}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", audio]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "fast", str(source)], check=True)
    content = source.read_bytes()
    source.unlink()
    for number in range(count):
        box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
        (folder / f"{number:05d}.mp4").write_bytes(content + box)


if __name__ == "__main__":
    sys.exit(main())
