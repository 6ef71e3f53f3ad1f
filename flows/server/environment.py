"""What Prefect reads from the environment when it is imported."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from storage.errors import ConfigError

_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "waver",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def prepare_environment(history: Path) -> None:
    """Set Prefect's environment variables; call this before Prefect is first imported.

    Prefect's own console log is silenced: the terminal shows Waver's progress, the UI everything.

    Raises:
        ConfigError: the history folder cannot be written.
    """
    home = Path(os.environ.setdefault("PREFECT_HOME", str(history.resolve())))
    with explain_unwritable_history(home):
        home.mkdir(parents=True, exist_ok=True)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def explain_unwritable_history(home: Path) -> Iterator[None]:
    """Turn an OSError of the body into a ConfigError that names the history folder."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"Prefect's history {str(home)!r} cannot be written ({error.strerror}): set "
            "PREFECT_HOME to a writable folder, or PREFECT_API_URL to a running server."
        ) from error
