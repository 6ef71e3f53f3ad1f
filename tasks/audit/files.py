"""Facts from the video files: which can be opened, how long they are, which are identical."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from storage.errors import ItemFault, WaverError, unexpected_reason
from storage.fingerprint import digest_file
from storage.records import VideoId
from tasks.media.probe import probe_seconds
from tasks.processes.tool import ToolLimits

_LIMITS = ToolLimits(seconds=120)
OnFile = Callable[[], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Durations in milliseconds of videos that can be opened, and reasons for those that cannot.

    ``errors`` are those that nobody foresaw; such a video is in none of the others. ``digests`` are
    of the files whose size equals another file's only.
    """

    durations: Mapping[VideoId, int] = field(default_factory=dict)
    faults: Mapping[VideoId, str] = field(default_factory=dict)
    errors: Mapping[VideoId, str] = field(default_factory=dict)
    digests: Mapping[VideoId, str] = field(default_factory=dict)


def probe_files(paths: Mapping[VideoId, Path], on_file: OnFile = lambda: None) -> FileFacts:
    """Open every video's container without decoding; ``on_file`` is called after each.

    An unforeseen error concerns one video and never ends the check of the others.

    Raises:
        ToolError: ffprobe is not installed.
    """
    durations: dict[VideoId, int] = {}
    faults: dict[VideoId, str] = {}
    errors: dict[VideoId, str] = {}
    with closing(_on_all_cores(_duration_or_error, paths)) as results:
        for video_id, result in results:
            on_file()
            if isinstance(result, int):
                durations[video_id] = result
            elif isinstance(result, ItemFault):
                faults[video_id] = str(result)
            else:
                errors[video_id] = unexpected_reason(result)
    digests = digest_files(_of_same_size(paths))
    return FileFacts(durations=durations, faults=faults, errors=errors, digests=digests)


def digest_files(
    paths: Mapping[VideoId, Path], on_file: OnFile = lambda: None
) -> dict[VideoId, str]:
    """Digest the readable files; ``on_file`` is called after each file."""
    digests: dict[VideoId, str] = {}
    with closing(_on_all_cores(_digest_or_none, paths)) as results:
        for video_id, digest in results:
            on_file()
            if digest is not None:
                digests[video_id] = digest
    return digests


def _duration_or_error(path: Path) -> int | Exception:
    try:
        return round(probe_seconds(path, limits=_LIMITS) * 1000)
    except ItemFault as fault:
        return fault
    except (WaverError, OSError, MemoryError):  # faults of the host
        raise
    except Exception as error:  # noqa: BLE001 - one file must not end the check
        return error


def _digest_or_none(path: Path) -> str | None:
    try:
        return digest_file(path)
    except OSError:
        return None


def _of_same_size(paths: Mapping[VideoId, Path]) -> dict[VideoId, Path]:
    """Select the files that may be identical to another by their size; no other need be read."""
    by_size: dict[int, list[VideoId]] = defaultdict(list)
    for video_id, path in paths.items():
        with contextlib.suppress(OSError):
            if path.is_file() and (size := path.stat().st_size):
                by_size[size].append(video_id)
    return {name: paths[name] for names in by_size.values() if len(names) > 1 for name in names}


def _on_all_cores(
    function: Callable[[Path], Result], paths: Mapping[VideoId, Path]
) -> Generator[tuple[VideoId, Result], None, None]:
    """Process every file in threads; pending files are canceled when the generator is closed."""
    pool = ThreadPoolExecutor(max_workers=os.cpu_count())
    try:
        results: Iterable[Result] = pool.map(function, paths.values())
        yield from zip(paths, results, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)
