"""The local Prefect server's process: `python -m flows.server.process SOCKET`.

SOCKET is the inherited file descriptor of a listening socket. The process ends with its parent,
even if that is killed.
"""

import socket
import sys

from tasks.processes.child_frame import end_with_parent


def main() -> None:
    """Serve Prefect's API and UI on the socket until the parent ends."""
    end_with_parent()
    import uvicorn
    from prefect.server.api.server import create_app

    listener = socket.socket(fileno=int(sys.argv[1]))
    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="warning"))
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
