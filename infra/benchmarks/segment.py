"""Cost of cutting: CPU seconds per minute of video, Waver against decoding and the paper's way.

``python -m infra.benchmarks.segment [--video PATH ...]``; exit status 1 above the targets.
All ways are measured on the same files in one run, in turn, so that noise affects all of them.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from flows.running.stage import for_every_core
from infra.benchmarks.ways import WAYS
from storage.fingerprint import digest_file
from storage.store.store import Store
from tasks.media.probe import probe
from tasks.processes.tool import ToolLimits
from tasks.segment import SegmentConfig, SourceVideo, segment_shard, variant_of
from tasks.stage import split_into_shards

MOST_OF_DECODING = 2.6
MOST_OF_PAPER = 0.40
_SHARD_VIDEOS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds per minute of one video, by way: the median of the repeats."""

    video: str
    by_way: Mapping[str, float]

    @property
    def of_decoding(self) -> float:
        """Waver's cost as a multiple of decoding's."""
        return self.by_way["waver"] / self.by_way["pure decoding"]

    @property
    def of_paper(self) -> float:
        """Waver's cost as a fraction of the paper's."""
        return self.by_way["waver"] / self.by_way["the paper's way"]

    @property
    def is_within_targets(self) -> bool:
        """True if both ratios hold."""
        return self.of_decoding <= MOST_OF_DECODING and self.of_paper <= MOST_OF_PAPER


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.segment", description=__doc__)
    parser.add_argument("--video", type=Path, nargs="+", default=[], help="files of your own")
    parser.add_argument("--seconds", type=float, default=60, help="length of the generated video")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder-of", type=int, default=6, help="videos cut side by side")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        generated = make_video(Path(name) / "generated-720p25.mp4", options.seconds)
        costs = [measure(path, options.repeats) for path in (generated, *options.video)]
        _print_costs(costs)
        _print_utilization(generated, options.folder_of)
    return 0 if all(cost.is_within_targets for cost in costs) else 1


def make_video(path: Path, seconds: float) -> Path:
    """Generate a 720p25 H.264 video with AAC audio: moving shapes under camera noise."""
    video = "testsrc2=s=1280x720:r=25,noise=alls=4:allf=t,format=yuv420p"
    command = [
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-y", "-t", str(seconds),
        "-f", "lavfi", "-i", video, "-t", str(seconds),
        "-f", "lavfi", "-i", "anoisesrc=c=pink:a=0.1:r=44100:seed=1",
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-c:a", "aac", "-b:a", "96k",
        str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def measure(video: Path, repeats: int) -> Cost:
    """Cut one video by every way, in turn, ``repeats`` times."""
    seconds = probe(video, limits=ToolLimits(seconds=120)).duration_seconds
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                cpu = cpu_seconds_of(partial(way, video, seconds, Path(folder)))
            spent[name].append(cpu * 60 / seconds)
    return Cost(video=video.name, by_way={name: median(costs) for name, costs in spent.items()})


def cpu_seconds_of(work: Callable[[], object]) -> float:
    """Measure the user and system time of this process and of its children over some work."""
    before = _cpu_seconds()
    work()
    return _cpu_seconds() - before


def _cpu_seconds() -> float:
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in used)


def _print_costs(costs: Sequence[Cost]) -> None:
    print("CPU seconds per minute of video (median)\n")
    print(f"| video | {' | '.join(WAYS)} | waver / decoding | waver / paper |")
    print("|---" * (len(WAYS) + 3) + "|")
    for cost in costs:
        by_way = " | ".join(f"{cost.by_way[name]:.2f}" for name in WAYS)
        ratios = f"{cost.of_decoding:.2f} | {cost.of_paper:.2f}"
        print(f"| {cost.video} | {by_way} | {ratios} |")
    print(f"| target | | | | <= {MOST_OF_DECODING:.2f} | <= {MOST_OF_PAPER:.2f} |\n", flush=True)


def _print_utilization(video: Path, num_videos: int) -> None:
    """Cut a folder of videos as a run does, and print how many cores were busy."""
    started, idle = time.monotonic(), _idle_seconds()
    cpu = cpu_seconds_of(partial(cut_folder, video, num_videos))
    wall, cores = time.monotonic() - started, os.cpu_count() or 1
    idle_fraction = (_idle_seconds() - idle) / (wall * cores)
    print(
        f"{num_videos} videos side by side: {cpu:.1f} CPU s in {wall:.1f} s, "
        f"{cpu / wall:.2f} of {cores} cores; cores were idle {idle_fraction:.0%} of the time"
    )


def cut_folder(video: Path, num_videos: int) -> None:
    """Cut copies of a video in shards, a thread for every core, as the segment flow does."""
    with tempfile.TemporaryDirectory() as name:
        sources = dict(_copies(video, num_videos, Path(name)))
        config = SegmentConfig()
        variant = variant_of(Store(str(Path(name) / "store")), config)
        expected = {video_id: source.digest for video_id, source in sources.items()}
        shards = split_into_shards(
            expected, for_every_core(num_videos, _SHARD_VIDEOS, os.cpu_count() or 1)
        )
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
            list(threads.map(lambda s: segment_shard.fn(s, sources, config, variant), shards))


def _copies(video: Path, count: int, folder: Path) -> Iterator[tuple[str, SourceVideo]]:
    for k in range(count):
        path = Path(shutil.copy(video, folder / f"{k:03d}{video.suffix}"))
        yield path.name, SourceVideo(path=path, source_digest=digest_file(path))


def _idle_seconds() -> float:
    """Return the idle seconds of all cores together since boot (Linux)."""
    total = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    return int(total[4]) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
