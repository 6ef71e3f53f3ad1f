"""The one environment of every Prefect server, worker and run that Waver starts or documents.

Prefect reads it when it is imported. A variable that the user has set is never replaced.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from storage.errors import ConfigError

# What only a server reads. Leases of deployments' limits are kept on disk: in memory, Prefect's
# default, a restart loses them, and a limit of one run then blocks every later run.
LEASE_STORAGE = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"
SERVER = {
    LEASE_STORAGE: LEASES_ON_DISK,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "flows.server.event_order",
    # Relative, so that the page calls the server that it came from: through any host name, port
    # or tunnel. Prefect's own default is port 4200, and the page is blank on any other.
    "PREFECT_SERVER_UI_API_URL": "/api",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}

# What runs, workers and commands read.
CLIENT = {
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; Prefect's minimum
    "PREFECT_LOGGING_EXTRA_LOGGERS": "waver",  # Waver's own lines belong to the run's log
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}

# For clients of a server that is kept up: waits of 2, 4, 8 ... 256 s, 8 minutes in all, so that a
# restart of up to 5 minutes ends no run. Prefect's default ends after one minute.
PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "8"}

# For processes whose output a user reads: Prefect's own lines are in the UI.
QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
}


def prepare_environment(history: Path) -> None:
    """Set the environment of a command; call this before Prefect is first imported.

    Prefect's own console log is silenced: the terminal shows Waver's progress, the UI everything.

    Raises:
        ConfigError: the history folder cannot be written.
    """
    home = Path(os.environ.setdefault("PREFECT_HOME", str(history.resolve())))
    with explain_unwritable_history(home):
        home.mkdir(parents=True, exist_ok=True)
    is_external = bool(os.environ.get("PREFECT_API_URL"))
    for name, value in {**SERVER, **CLIENT, **QUIET, **(PATIENT if is_external else {})}.items():
        os.environ.setdefault(name, value)
    own_login = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    if own_login and not is_external:  # never sent to a server that is not started here
        os.environ.setdefault("PREFECT_API_AUTH_STRING", own_login)


def server_environment(ui_url: str) -> dict[str, str]:
    """Return the environment of a server process, which must not be a client of another one.

    Notifications link to ``ui_url``, unless the user has set another address of the UI.
    """
    return {"PREFECT_UI_URL": ui_url, **SERVER, **CLIENT, **os.environ, "PREFECT_API_URL": ""}


def worker_environment(api_url: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a worker of this server; the runs that it starts inherit it."""
    inherited = {name: value for name, value in os.environ.items() if name not in QUIET}
    return {**CLIENT, **PATIENT, **inherited, **(extra or {}), "PREFECT_API_URL": api_url}


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
