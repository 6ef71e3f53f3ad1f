"""The identity of a file: what changes whenever its content does, without reading the content.

A local file's is its size, inode, and times of modification and of status change, as in git's
index. An object's is what its store reports: an ETag, or a size with a time. A file that was
written again within the resolution of its clock keeps its identity, so the identity of a file
counts only once it is settled: its times are older than the start of the reading.

It cannot show: bits that flip on the disk, writes through a memory map before they are flushed, a
clock that is set back, and, where a file system keeps no time of status change, a restored time of
modification. Reading everything again at an interval finds these.
"""

import os
import stat
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_CLOCK_NS = 2_000_000_000  # the coarsest clock of a file system, FAT's, ticks every two seconds
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies a file's content, and the times that must be old for it to count.

    Attributes:
        text: Equal for equal content.
        size: In bytes.
        modified_ns: Time of modification; 0 if ``text`` follows from the content itself.
        changed_ns: Time of status change, which nobody can set; 0 where there is none.
    """

    text: str
    size: int
    modified_ns: int = 0
    changed_ns: int = 0

    def is_settled(self, now_ns: int) -> bool:
        """Return whether a write after ``now_ns`` would change the identity.

        A time of modification in the future is a camera's wrong clock, and no reason to doubt.
        """
        is_recent = abs(now_ns - self.modified_ns) <= _CLOCK_NS
        return not is_recent and self.changed_ns < now_ns - _CLOCK_NS


def identity_of(path: str | Path) -> Identity:
    """Return a local file's identity, following links.

    Raises:
        OSError: there is no such file, or it is not a regular file.
    """
    facts = os.stat(path)  # noqa: PTH116 - a Path for each of many files costs more than the call
    if not stat.S_ISREG(facts.st_mode):
        raise FileNotFoundError(f"not a regular file: {str(path)!r}")
    changed_ns = facts.st_ctime_ns if os.name == "posix" else 0  # elsewhere it is the creation
    stamps = (facts.st_size, facts.st_mtime_ns, changed_ns, facts.st_ino)
    return Identity(":".join(map(str, stamps)), facts.st_size, facts.st_mtime_ns, changed_ns)


def identity_of_object(facts: Mapping[str, Any]) -> Identity:
    """Return the identity of an object from fsspec's ``info``; a new one each time without stamps.

    Raises:
        FileNotFoundError: it is not a file.
    """
    if facts["type"] != "file":
        raise FileNotFoundError(f"not a file: {facts['name']!r}")
    size = int(facts["size"])
    if etag := facts.get("ETag") or facts.get("etag"):
        return Identity(f"{size}:{etag}", size)
    stamps = [facts.get(name) for name in (*_TIMES, "ino")]
    times = list(filter(None, map(_nanoseconds, stamps[:-1])))
    if not times:
        return Identity(f"{size}:{uuid.uuid4()}", size, modified_ns=time.time_ns())
    return Identity(f"{size}:{stamps}", size, modified_ns=max(times), changed_ns=max(times))


def _nanoseconds(stamp: Any) -> int:
    if isinstance(stamp, datetime):
        return int(stamp.timestamp() * 1e9)
    return int(stamp * 1e9) if isinstance(stamp, int | float) else 0
