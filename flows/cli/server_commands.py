"""Commands on Prefect servers: `ui`."""

from typing import Annotated

import typer

from flows.commands.options import HISTORY
from flows.server.environment import prepare_environment


def ui(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the UI on this computer.")
    ] = 4200,
) -> None:
    """Serve the Prefect UI with the history of local runs, until Ctrl-C."""
    prepare_environment(HISTORY)
    from flows.operations.ui import serve_ui

    serve_ui(port)
