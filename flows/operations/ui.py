"""The Prefect UI, served without workers."""

import time

from rich.console import Console

from flows.commands.termination import Terminated
from flows.server.local_server import Listen, prefect_server


def serve_ui(port: int) -> None:
    """Serve the Prefect UI until Ctrl-C; if a server is already running, print its address."""
    console = Console()
    with prefect_server(Listen(port=port)) as api_url:
        console.print(
            f"Prefect UI: [bold]{api_url.removesuffix('/api')}[/bold] (stop it with Ctrl-C)"
        )
        try:
            while True:
                time.sleep(1)
        except (KeyboardInterrupt, Terminated):
            console.print("Stopped; the history is kept.")
