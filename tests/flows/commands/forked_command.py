"""The command line, imported once: every command runs in a fork, a session of its own.

``python -m tests.flows.commands.forked_command SOCKET`` gets commands on the inherited socket, each
with the files of its stdout and stderr, and returns the fork's process id and then its exit code.
On environment variables with a socket it forks a process that serves that socket with them, too.
"""

import importlib
import json
import os
import socket
import sys

PRELOAD = ("flows.commands.run", "flows.commands.predict", "flows.commands.ablate")


def main() -> None:
    command_line = importlib.import_module("flows.cli.main")
    for name in PRELOAD:
        importlib.import_module(name)
    sys.modules["__main__"] = command_line  # processes that Python spawns import this one
    requests = socket.socket(fileno=int(sys.argv[1]))
    while (received := socket.recv_fds(requests, 65_536, 2))[0]:
        arguments, files = json.loads(received[0]), received[1]
        process_id = os.fork()
        if isinstance(arguments, dict):
            requests = serve_another(requests, arguments, files[0], process_id)
            continue
        if process_id == 0:
            requests.close()
            sys.argv = ["waver", *arguments]
            redirect(*files)
            return command_line.main()
        for file in files:
            os.close(file)
        requests.send(str(process_id).encode())
        status = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
        requests.send(str(status).encode())
    return None


def serve_another(
    requests: socket.socket, variables: dict[str, str], file: int, process_id: int
) -> socket.socket:
    """Return the socket on which this one of the two processes gets its commands."""
    if process_id == 0:
        requests.close()
        os.environ.update(variables)
        return socket.socket(fileno=file)
    os.close(file)
    requests.send(str(process_id).encode())
    return requests


def redirect(stdout: int, stderr: int) -> None:
    os.setsid()
    with open(os.devnull) as stdin:  # noqa: PTH123
        os.dup2(stdin.fileno(), 0)
    for number, file in ((1, stdout), (2, stderr)):
        os.dup2(file, number)
        os.close(file)


if __name__ == "__main__":
    main()
