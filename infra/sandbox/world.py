"""Generate a sandbox data set in the BAH layout, with rendered faces and synthesized speech.

    python -m infra.sandbox.world --out DIR [--participants N] [--videos-per-participant M]
                                  [--seed S] [--cue-strength C] [--workers W]

A video appears atomically, and the marker `world.json` states what is being generated and, last,
that everything is present. So a killed run resumes, a complete data set of the same settings is
kept, a missing video is generated again, and other settings replace the data set.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.sandbox.layout import ANNOTATION_FILE, PARTICIPANTS_FILE, write_layout, write_whole
from infra.sandbox.plan import PlannedVideo, WorldPlan, WorldSettings, plan_world
from infra.sandbox.truth import TRUTH_FOLDER, dump_truth, load_truth, truth_path
from storage.errors import ConfigError, DataError, ToolError, WaverError
from storage.fingerprint import digest_of
from storage.store.atomic import atomic_file

MARKER = "world.json"
_VERSION = 2  # bump when the same settings generate other content
_MAKING = ".making"
_FOLDERS = ("Videos", "transcription", "split", "split-frames", TRUTH_FOLDER, _MAKING)
_FILES = (ANNOTATION_FILE, PARTICIPANTS_FILE, "version.txt")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldResult:
    """How many videos the data set has, and how many of them this run rendered."""

    num_videos: int
    num_computed: int


def make_world(
    root: Path, settings: WorldSettings, *, workers: int = 1, progress: Progress | None = None
) -> WorldResult:
    """Generate the data set at `root`, or complete it; calls `progress(num_done, num_videos)`.

    Raises:
        ConfigError: the folder contains something else.
        DataError: the folder cannot be written.
        ToolError: ffmpeg is missing or fails.
    """
    plan = plan_world(settings)
    digest = digest_of(_VERSION, asdict(settings))
    try:
        return _make(root, plan, digest, workers, progress or (lambda *_: None))
    except OSError as error:
        raise DataError(
            f"The sandbox data set cannot be written to {str(root)!r} ({error.strerror or error}): "
            "name a writable folder on a disk with 100 MB free."
        ) from error


def _make(
    root: Path, plan: WorldPlan, digest: str, workers: int, progress: Progress
) -> WorldResult:
    marker = _read_marker(root)
    if marker.get("digest") != digest:
        _clear(root)
        root.mkdir(parents=True, exist_ok=True)
        _write_marker(root, plan, digest, sizes={})
        marker = {}
    sizes = marker.get("sizes", {})
    num_videos = len(plan.videos)
    if sizes and all(_size(root / path) == size for path, size in sizes.items()):
        return WorldResult(num_videos=num_videos, num_computed=0)
    pending = [video for video in plan.videos if not _is_there(root, video, sizes)]
    num_cached = num_videos - len(pending)
    progress(num_cached, num_videos)
    strength = plan.settings.cue_strength
    for num_computed, _ in enumerate(_render_all(root, pending, strength, workers), start=1):
        progress(num_cached + num_computed, num_videos)
    _write_labels(root, plan)
    _write_marker(root, plan, digest, sizes={path: _size(root / path) for path in _iter_made(root)})
    return WorldResult(num_videos=num_videos, num_computed=len(pending))


def _read_marker(root: Path) -> dict[str, Any]:
    """Read the folder's marker; raise if the folder contains other files."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return {}
    try:
        marker: dict[str, Any] = json.loads((root / MARKER).read_text(encoding="utf-8"))
        return marker
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(
            f"{str(root)!r} is not empty and not a sandbox data set (no readable {MARKER}): name a "
            "new or empty folder."
        ) from error


def _write_marker(root: Path, plan: WorldPlan, digest: str, sizes: dict[str, int]) -> None:
    """Write the folder's marker; `sizes` (bytes by path) is empty until everything is present."""
    marker = {"digest": digest, "settings": asdict(plan.settings), "sizes": sizes}
    write_whole(root / MARKER, json.dumps(marker, indent=1))


def _clear(root: Path) -> None:
    """Remove all files of a data set but the marker, which identifies the folder."""
    for name in _FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in _FILES:
        (root / name).unlink(missing_ok=True)


def _iter_made(root: Path) -> Iterator[str]:
    for name in _FOLDERS:
        yield from (p.relative_to(root).as_posix() for p in (root / name).rglob("*") if p.is_file())
    yield from _FILES


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _is_there(root: Path, video: PlannedVideo, sizes: dict[str, int]) -> bool:
    paths = (video.path, truth_path(video))
    found = {path: _size(root / path) for path in paths}
    return all(size > 0 and size == sizes.get(path, size) for path, size in found.items())


def _render_all(
    root: Path, videos: Sequence[PlannedVideo], cue_strength: float, workers: int
) -> Iterator[None]:
    shutil.rmtree(root / _MAKING, ignore_errors=True)
    if workers <= 1 or len(videos) <= 1:
        for video in videos:
            _make_video(root, video, cue_strength)
            yield
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(videos)), mp_context=context) as pool:
            jobs = [pool.submit(_make_video, root, video, cue_strength) for video in videos]
            try:
                for job in as_completed(jobs):
                    job.result()
                    yield
            except BrokenProcessPool as error:
                raise ToolError(
                    "A process that rendered sandbox videos died, perhaps for lack of memory: run "
                    "the same command again to resume; --workers 1 needs least memory."
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    shutil.rmtree(root / _MAKING, ignore_errors=True)


def _make_video(root: Path, video: PlannedVideo, cue_strength: float) -> None:
    """Render one video and write its ground truth; the video itself is written last."""
    import cv2

    from infra.sandbox.render import render_video

    cv2.setNumThreads(1)
    path = root / video.path
    # A killed run may leave a process behind that still writes: never into the same file.
    with atomic_file(path, temporary_folder=root / _MAKING, flush=False) as unfinished:
        truth = render_video(video, cue_strength, unfinished)
        write_whole(root / truth_path(video), dump_truth(truth))


def _write_labels(root: Path, plan: WorldPlan) -> None:
    paths = (root / truth_path(video) for video in plan.videos)
    truths = (load_truth(path.read_text(encoding="utf-8")) for path in paths)
    write_layout(root, plan, {truth.video_id: truth for truth in truths})


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    defaults = WorldSettings()
    parser = argparse.ArgumentParser(
        prog="python -m infra.sandbox.world",
        description="Generate a sandbox data set (BAH layout).",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="a new or empty folder, or a sandbox data set"
    )
    parser.add_argument("--participants", type=int, default=defaults.num_participants)
    parser.add_argument(
        "--videos-per-participant", type=int, default=defaults.videos_per_participant
    )
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument(
        "--cue-strength",
        type=float,
        default=defaults.cue_strength,
        help="above 0, at most 1; below 1 the data set is harder",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    return parser.parse_args(arguments)


def _show_progress(num_cached: int, num_videos: int) -> None:
    line = f"sandbox data set: {num_cached} of {num_videos} videos"
    if sys.stdout.isatty():
        print(f"\r{line}", end="" if num_cached < num_videos else "\n", flush=True)
    elif num_cached % 5 == 0 or num_cached == num_videos:
        print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parse_arguments(arguments)
    started = time.monotonic()
    try:
        settings = WorldSettings(
            num_participants=options.participants,
            videos_per_participant=options.videos_per_participant,
            seed=options.seed,
            cue_strength=options.cue_strength,
        )
        made = make_world(options.out, settings, workers=options.workers, progress=_show_progress)
    except WaverError as error:
        print(f"\nwaver: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nwaver: interrupted; run the same command again to resume.", file=sys.stderr)
        return 130
    seconds = time.monotonic() - started
    what = f"{made.num_computed} rendered" if made.num_computed else "all cached"
    print(f"sandbox data set: {made.num_videos} videos in {options.out}, {what}, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
