"""The address of a Ray cluster: whether Ray is installed and the cluster's head answers there."""

import importlib.util
import socket
import urllib.parse

from storage.errors import ConfigError, ToolError

_CONNECT_SECONDS = 5.0
# Of HTTP/2, which gRPC is built on: the client's preface with empty settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS_TYPE = b"\x04"


def check_cluster(address: str) -> None:
    """Raise if Ray is missing or no cluster answers; takes seconds at most.

    Raises:
        ToolError: Ray is not installed.
        ConfigError: the address is malformed, or no cluster answers there.
    """
    if importlib.util.find_spec("prefect_ray") is None:
        raise ToolError(
            "The setting resources.runner is 'ray', but Ray is not installed: "
            "pip install 'waver[ray]'."
        )
    if not is_answering(address):
        raise ConfigError(
            f"No Ray cluster answers at resources.ray_address {address!r}: start its head there "
            "with `ray start --head`, or leave out resources.runner."
        )


def host_and_port(address: str) -> tuple[str, int]:
    """Split an address, HOST:PORT.

    Raises:
        ConfigError: it has another form.
    """
    try:
        parsed = urllib.parse.urlsplit(f"//{address}")
        host, port, rest = parsed.hostname, parsed.port, parsed.path or parsed.query
    except ValueError:
        host, port, rest = None, None, ""
    if not host or not port or rest:
        raise ConfigError(
            f"The setting resources.ray_address is {address!r}: expected HOST:PORT of the head of "
            "the cluster, as in 10.0.0.1:6379."
        )
    return host, port


def is_answering(address: str) -> bool:
    """Return whether a gRPC server listens; Ray itself tries for minutes before it gives up."""
    try:
        with socket.create_connection(host_and_port(address), _CONNECT_SECONDS) as connection:
            connection.settimeout(_CONNECT_SECONDS)
            connection.sendall(_PREFACE)
            return connection.recv(9)[3:4] == _SETTINGS_TYPE
    except OSError:
        return False
