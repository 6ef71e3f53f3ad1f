"""A clock that moves: what Python shows a run as the time, and the time stamps of its files.

Nothing may set this computer's clock, so the first run is shown a shifted one by a module that
Python imports when it starts; it does not reach ffmpeg, nor `datetime`, which reads the clock
itself. Then the files of the store get time stamps as by that clock, and the next run the real one.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_MODULE = """\
import os, time
_shift = int(os.environ["WAVER_CHAOS_SHIFT"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _shift
time.time_ns = lambda: _time_ns() + _shift * 1_000_000_000
"""


def with_shifted_clock(
    environment: Mapping[str, str], seconds: int, folder: Path
) -> dict[str, str]:
    """Return an environment in which Python's clock is ahead by so many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_MODULE, encoding="utf-8")
    path = [str(folder), environment.get("PYTHONPATH", "")]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "WAVER_CHAOS_SHIFT": str(seconds),
    }


def shift_files(folder: Path, seconds: int) -> None:
    """Move the time stamps of all files of a store."""
    for path in folder.rglob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime + seconds, status.st_mtime + seconds))
