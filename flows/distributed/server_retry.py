"""Retry policy for an unreachable Prefect server while workers keep running.

Prefect's client has retried for a minute before any of its errors is seen here.
"""

import time

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from storage.errors import StageError
from tasks.log import LOGGER

_MAX_OUTAGE_SECONDS = 300.0
_BUSY = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)


def is_outage(error: Exception) -> bool:
    """Return whether a server was unreachable or failed, rather than rejected the request."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.is_server_error or error.response.status_code in _BUSY
    return isinstance(error, httpx.TransportError)


class ServerRetry:
    """Tolerates an outage of some minutes, counted from its first error, and logs it once."""

    def __init__(self) -> None:
        self._since: float | None = None

    def reset(self) -> None:
        """End the outage: the server has responded."""
        if self._since is not None:
            LOGGER.info("infer: the Prefect server responds again")
        self._since = None

    def tolerate(self, error: httpx.HTTPError) -> None:
        """Return if the request may be retried after this error.

        Raises:
            StageError: the outage has lasted too long.
            HTTPError: the error is not an outage.
        """
        if not is_outage(error):
            raise error
        name, now = type(error).__name__, time.monotonic()
        if self._since is None:
            self._since = now
            LOGGER.warning(
                "infer: the Prefect server does not respond (%s): partitions keep running; "
                "retrying for %d s", name, _MAX_OUTAGE_SECONDS,
            )  # fmt: skip
        elif now - self._since > _MAX_OUTAGE_SECONDS:
            raise StageError(
                f"The Prefect server has not responded for {now - self._since:.0f} s ({name}). The "
                "inference partitions keep running: repair the server and run again to wait for "
                "them."
            ) from error
