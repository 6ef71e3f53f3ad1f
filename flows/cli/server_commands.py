"""Commands on Prefect servers: `serve` and `ui`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import HISTORY
from flows.server.environment import prepare_environment
from storage.errors import ConfigError

Port = Annotated[
    int, typer.Option(min=1, max=65535, help="Port of the UI and the API on this computer.")
]
PemFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, help="For HTTPS: a PEM file."),
]


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")
    ] = "127.0.0.1",
    port: Port = 4200,
    workers: Annotated[
        bool, typer.Option(help="Run a worker for each work pool on this computer.")
    ] = True,
    ssl_certificate: PemFile = None,
    ssl_key: PemFile = None,
) -> None:
    """Serve Prefect's API and UI, and run deployments on this computer, until Ctrl-C.

    Set PREFECT_SERVER_API_AUTH_STRING to user:password, there and as PREFECT_API_AUTH_STRING for
    every client, to admit nobody else. PREFECT_API_DATABASE_CONNECTION_URL names another database
    than the history's SQLite file.
    """
    if (ssl_certificate is None) != (ssl_key is None):
        raise ConfigError("--ssl-certificate and --ssl-key belong together: pass both, or neither.")
    os.environ.pop("PREFECT_API_URL", None)  # of the clients: this command starts the server
    prepare_environment(HISTORY)
    from flows.operations.serve import serve as serve_server
    from flows.server.local_server import Listen

    listen = Listen(host=host, port=port, certificate=ssl_certificate, key=ssl_key)
    serve_server(listen, with_workers=workers)


def ui(port: Port = 4200) -> None:
    """Serve the Prefect UI with the history of local runs, until Ctrl-C."""
    prepare_environment(HISTORY)
    from flows.operations.ui import serve_ui

    serve_ui(port)
