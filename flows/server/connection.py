"""Requests to a Prefect server, with the auth string and the certificate of the environment."""

import os
import ssl
import time
from typing import Any

import httpx

from storage.errors import ConfigError

_RETRY_SECONDS = 60.0
_TRUE = ("1", "true", "yes", "on")


def api_client(api_url: str, timeout: float = 60.0) -> httpx.Client:
    """Return a client of the API; its requests authenticate as Prefect's own do."""
    return httpx.Client(
        base_url=api_url, timeout=timeout, auth=_auth(), verify=_verification(api_url)
    )


def _auth() -> httpx.BasicAuth | None:
    """Return the user and password of PREFECT_API_AUTH_STRING.

    For a server that is started here, `prepare_environment` sets it: a client cannot know by the
    address alone whose server it is, and sends no server's password to another one.
    """
    if not (auth_string := os.environ.get("PREFECT_API_AUTH_STRING")):
        return None
    user, _, password = auth_string.partition(":")
    return httpx.BasicAuth(user, password)


def _verification(api_url: str) -> ssl.SSLContext | bool:
    if not api_url.startswith("https:"):
        return True
    if os.environ.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in _TRUE:
        return False
    certificate = os.environ.get("PREFECT_API_SSL_CERT_FILE")
    return ssl.create_default_context(cafile=certificate) if certificate else True


def is_healthy(api_url: str, timeout: float = 2.0) -> bool:
    """Return whether a Prefect server responds there."""
    try:
        with api_client(api_url, timeout) as client:
            return client.get("/health").status_code == httpx.codes.OK
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return False


def check_access(api_url: str, name: str = "") -> None:
    """Raise ConfigError if no server responds there, or if it does not accept this process.

    ``name`` is the variable, with a space, that the address comes from.
    """
    named = f"The Prefect server at {name}{api_url!r}"
    try:
        with api_client(api_url, timeout=20) as client:
            status = client.get("/admin/version").status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ConfigError(
                f"{named} has a certificate that is not trusted: set PREFECT_API_SSL_CERT_FILE to "
                "the PEM file of the certificate, or of the authority that signed it."
            ) from error
        raise ConfigError(
            f"No Prefect server responds at {name}{api_url!r}: start it, or unset "
            "PREFECT_API_URL to start one for the run."
        ) from error
    if status == httpx.codes.UNAUTHORIZED:
        raise ConfigError(
            f"{named} rejects this user: set PREFECT_API_AUTH_STRING to the server's user:password."
        )


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    """Post to the server and return its JSON response.

    The server responds 503 while its own services lock its SQLite file; the request is then
    retried, as Prefect's client does.
    """
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        response = client.post(path, json=body)
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            return response.raise_for_status().json()
        time.sleep(0.5)
