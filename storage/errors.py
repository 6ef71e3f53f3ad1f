"""Every error that Waver raises on purpose, in one tree.

WaverError                what is wrong, the value, what was expected, what to do
├── ConfigError           a setting, profile or command-line value that cannot be used
├── DataError             a data set that is missing or cannot be read
├── StoreError            the store cannot be written or read (permission, full disk)
│   └── ReadOnlyError     something would have to be written, such as a merged model
├── ToolError             a program or library that must be installed
├── ModelError            a model folder or hub name that cannot be opened
├── LeakageError          a participant, video or duplicate in two splits
├── StageError            a stage that cannot start, or did not finish
│   └── CrashError        a child process that died or failed unexpectedly
└── ItemFault             a video or segment that becomes a rejected row
    ├── FramesFault       the decoded frames differ from the container's
    └── TransientFault    a limit of time or memory, a disk or a process, which may pass
"""

import traceback
from pathlib import Path

_ROOT = str(Path(__file__).parents[1])


class WaverError(Exception):
    """An error whose message is one sentence for the user.

    ``details`` name the participants or videos concerned, one per line. They are only for the
    terminal, while the message may be logged and stored.
    """

    def __init__(self, message: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.details = details


class ConfigError(WaverError):
    """A setting, profile or command-line value cannot be used."""


class DataError(WaverError):
    """A data set is missing or cannot be read."""


class StoreError(WaverError):
    """The store cannot be written or read."""


class ReadOnlyError(StoreError):
    """Something would have to be written to a store that is only read."""


class ToolError(WaverError):
    """A program or library must be installed first."""


class ModelError(WaverError):
    """A model folder or hub name cannot be opened."""


class LeakageError(WaverError):
    """A participant, video or duplicate is in two splits."""


class StageError(WaverError):
    """A stage cannot start, or did not finish."""


class CrashError(StageError):
    """A child process died or failed unexpectedly."""


class ItemFault(WaverError):
    """A video or segment cannot be used: it is rejected with this reason, the run continues."""


class FramesFault(ItemFault):
    """The decoded frames of a video differ from its container's."""


class TransientFault(ItemFault):
    """A fault that may pass: another try, or a higher limit, may succeed."""


def unexpected_reason(error: Exception) -> str:
    """Describe an error that nobody foresaw, by type and Waver's source line only.

    Its message is left out: it may contain personal data.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if frame.filename.startswith(_ROOT) and "site-packages" not in frame.filename
    ]
    frame = (own or frames)[-1]
    line = f"{frame.name} ({Path(frame.filename).name}, line {frame.lineno})"
    return f"unexpected {type(error).__name__} in {line}: report this line, it is a fault of Waver"
