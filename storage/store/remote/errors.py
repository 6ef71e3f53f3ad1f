"""Errors of remote stores that a user can act on, each turned into one sentence."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from storage.errors import StoreError

_LIBRARIES = frozenset(
    {"botocore", "aiobotocore", "s3fs", "gcsfs", "adlfs", "azure", "google", "aiohttp", "fsspec"}
)
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
     "ProfileNotFound", "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"}
)  # fmt: skip
_WRONG_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
     "RequestTimeTooSkewed", "AuthFailure", "InvalidSecurity"}
)  # fmt: skip
_UNREACHABLE = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
     "ProxyConnectionError", "SSLError", "HTTPClientError", "FSTimeoutError",
     "ClientConnectorError", "ServerDisconnectedError"}
)  # fmt: skip
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "500", "503"})


_CONFLICT = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_OF_THIS_NODE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)


def errors_of(store: Any) -> contextlib.AbstractContextManager[None]:
    """Return `remote_errors` of a store, which do not concern a local one."""
    return remote_errors(store.url) if store.remote else contextlib.nullcontext()


def is_conflict(error: Exception) -> bool:
    """Return whether S3 answered 409: another request on the same object was under way."""
    return _code_of(error) in _CONFLICT


@contextlib.contextmanager
def remote_errors(url: str) -> Iterator[None]:
    """Raise `StoreError` if a remote store cannot be used; a missing object passes through."""
    try:
        yield
    except Exception as error:
        if (reason := _reason_of(error)) is None:
            raise
        raise StoreError(f"The store {url!r} {reason}.") from error


def _reason_of(error: Exception) -> str | None:
    """Return what is wrong and what to do; ``None`` for a missing object and for faults of Waver.

    Messages of the libraries are left out where they could contain an object's name.
    """
    code, name = _code_of(error), type(error).__name__
    if code == "NoSuchBucket":
        return "is in a bucket that does not exist: create the bucket, or name another with --store"
    if isinstance(error, FileNotFoundError | FileExistsError | StoreError):
        return None
    if isinstance(error, OSError) and error.errno in _OF_THIS_NODE:
        return None
    if name in _NO_CREDENTIALS:
        return (
            "needs credentials, and none were found: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if code in _WRONG_CREDENTIALS:
        return f"does not accept the credentials ({code}): check AWS_ACCESS_KEY_ID and its secret"
    if isinstance(error, PermissionError):
        return (
            "does not permit this access (access denied): permit these credentials to list, read, "
            "write and delete its objects"
        )
    if name in _UNREACHABLE or isinstance(error, TimeoutError | ConnectionError):
        return (
            f"cannot be reached{_endpoint_of(error)}: check the network and the endpoint "
            "(AWS_ENDPOINT_URL)"
        )
    if code in _BUSY:
        return f"is busy ({code}): run again, which continues"
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _LIBRARIES:
        return f"cannot be used ({code or name}): check its URL and settings"
    return None


def _code_of(error: BaseException | None) -> str:
    """Return the code of the server's answer, of the error or of its cause; empty if none."""
    while error is not None:
        response: Any = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def _endpoint_of(error: Exception) -> str:
    facts: Any = getattr(error, "kwargs", {})
    endpoint = urlsplit(str(facts.get("endpoint_url", "")) if isinstance(facts, dict) else "")
    return f" at {endpoint.scheme}://{endpoint.netloc}" if endpoint.netloc else ""
