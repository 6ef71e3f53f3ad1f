"""Every error Waver raises on purpose, in one tree.

WaverError                what is wrong, the value, what was expected, the way out
├── ConfigError           a setting, profile or command-line value that cannot be used
├── DataError             a data set that is missing or cannot be read
├── StoreError            the store cannot be written or read (permission, full disk)
├── ToolError             a program or library that has to be installed
├── ModelError            a model folder or hub name that cannot be opened
├── LeakageError          a participant, video or duplicate on two sides of a split
├── StageError            a stage that cannot start, or did not finish
│   └── CrashError        a child process that died, or failed in a way that nobody foresaw
└── ItemFault             one video or segment is at fault: it becomes a rejected row
    └── FramesFault       other frames decode than the container lists
"""


class WaverError(Exception):
    """An error whose message is one clear sentence for the person who runs Waver.

    ``details`` name the participants or videos concerned, a line each: they are for the terminal
    alone, while the message may be logged and stored.
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


class ToolError(WaverError):
    """A program or library has to be installed first."""


class ModelError(WaverError):
    """A model folder or hub name cannot be opened."""


class LeakageError(WaverError):
    """A participant, a video or a duplicate stands on two sides of a split."""


class StageError(WaverError):
    """A stage cannot start, or did not finish."""


class CrashError(StageError):
    """A child process died, or failed in a way that nobody foresaw."""


class ItemFault(WaverError):
    """One video or segment is at fault: the row is rejected with this reason, the run goes on."""


class FramesFault(ItemFault):
    """A video's decoder gave other frames than its container lists."""
