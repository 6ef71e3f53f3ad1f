"""A Prefect server that does not answer while others work: how long that is borne.

Prefect's client has tried for a minute already before any of its errors is seen here.
"""

import time

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from storage.errors import StageError
from tasks.log import LOGGER

_PATIENCE_SECONDS = 300.0
_BUSY = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)


def is_outage(error: Exception) -> bool:
    """Say whether a server did not answer, or could not, rather than refuse what it was asked."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.is_server_error or error.response.status_code in _BUSY
    return isinstance(error, httpx.TransportError)


class Patience:
    """Bears a server that is out for some minutes from its first error on, and tells it once."""

    def __init__(self) -> None:
        self._since: float | None = None

    def renew(self) -> None:
        """Begin anew, as the server has answered."""
        if self._since is not None:
            LOGGER.info("infer: the Prefect server answers again")
        self._since = None

    def bear(self, error: httpx.HTTPError) -> None:
        """Let an error pass.

        Raises:
            StageError: it has gone on for too long.
            HTTPError: it is none of a server that is out.
        """
        if not is_outage(error):
            raise error
        name, now = type(error).__name__, time.monotonic()
        if self._since is None:
            self._since = now
            LOGGER.warning(
                "infer: the Prefect server does not answer (%s): the shares go on, and are waited "
                "for if it answers again within %d s", name, _PATIENCE_SECONDS,
            )  # fmt: skip
        elif now - self._since > _PATIENCE_SECONDS:
            raise StageError(
                f"The Prefect server has not answered for {now - self._since:.0f} s ({name}). The "
                "shares of the inference go on: see to the server and run again to wait for them."
            ) from error
