"""The local Prefect server's own process: `python -m flows.server.process SOCKET`.

SOCKET is the inherited file descriptor of a socket that listens already. The process ends with the
one that started it, however that one ends.
"""

import socket
import sys

from tasks.processes.child_process import end_with_parent


def main() -> None:
    """Serve Prefect's API and UI on the given socket until the parent is gone."""
    end_with_parent()
    import uvicorn
    from prefect.server.api.server import create_app

    listening = socket.socket(fileno=int(sys.argv[1]))
    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="warning"))
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
