"""Facts from the video files: which can be opened, how long they are, which are identical."""

import contextlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from storage.datasets.dataset import source_index
from storage.errors import ItemFault, WaverError, unexpected_reason
from storage.fingerprint import digest_file, digest_of
from storage.records import VideoId
from storage.store.file_index import memory_index
from storage.store.store import Store
from tasks.media.probe import probe_seconds
from tasks.processes.tool import ToolLimits, run_tool

PROBE_VERSION = 1  # raise it when the duration of the same file is found differently

_LIMITS = ToolLimits(seconds=120)
OnFile = Callable[[], None]


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


def probe_files(
    paths: Mapping[VideoId, Path], on_file: OnFile = lambda: None, *, store: Store | None = None
) -> FileFacts:
    """Open every video's container without decoding; ``on_file`` is called after each.

    An unforeseen error concerns one video and never ends the check of the others. Files that have
    not changed since an earlier call with the same ``store`` are not opened again, except those
    that could not be opened.

    Raises:
        ToolError: ffprobe is not installed.
    """
    durations: dict[VideoId, int] = {}
    faults: dict[VideoId, str] = {}
    errors: dict[VideoId, str] = {}
    index = memory_index() if store is None else store.index(_durations_of_this_ffprobe())
    with closing(index.iter_facts(paths, _milliseconds, catching=(Exception,))) as facts:
        for video_id, result in facts:
            on_file()
            if isinstance(result, str):
                durations[video_id] = int(result)
            elif isinstance(result, ItemFault):
                faults[video_id] = str(result)
            elif isinstance(result, WaverError | OSError | MemoryError):  # faults of the host
                raise result
            else:
                errors[video_id] = unexpected_reason(result)
    digests = digest_files(_of_same_size(paths), store=store)
    return FileFacts(durations=durations, faults=faults, errors=errors, digests=digests)


def digest_files(
    paths: Mapping[VideoId, Path], on_file: OnFile = lambda: None, *, store: Store | None = None
) -> dict[VideoId, str]:
    """Digest the readable files; ``on_file`` is called after each file.

    Files that have not changed since they were last read with the same ``store`` are not read.
    """
    digests: dict[VideoId, str] = {}
    with closing(source_index(store).iter_facts(paths, digest_file)) as facts:
        for video_id, digest in facts:
            on_file()
            if isinstance(digest, str):
                digests[video_id] = digest
    return digests


def _durations_of_this_ffprobe() -> str:
    """Return the name of the index of durations that this version of ffprobe finds."""
    program = shutil.which("ffprobe")
    version = run_tool([program, "-version"], limits=_LIMITS).output if program else b""
    return f"durations-{digest_of(PROBE_VERSION, version.decode(errors='replace'))[:8]}"


def _milliseconds(path: Path) -> str:
    return str(round(probe_seconds(path, limits=_LIMITS) * 1000))


def _of_same_size(paths: Mapping[VideoId, Path]) -> dict[VideoId, Path]:
    """Select the files that may be identical to another by their size; no other need be read."""
    by_size: dict[int, list[VideoId]] = defaultdict(list)
    for video_id, path in paths.items():
        with contextlib.suppress(OSError):
            if path.is_file() and (size := path.stat().st_size):
                by_size[size].append(video_id)
    return {name: paths[name] for names in by_size.values() if len(names) > 1 for name in names}
