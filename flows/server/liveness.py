"""Whether the process of a run is alive, decided on its own computer alone.

Host names, process ids and namespaces repeat; together with the boot and the time at which the
process started they do not.
"""

import os
import socket
from pathlib import Path

PROCESS_LABEL = "waver.process"  # of a flow run: the identity of the process that runs it
STATE_LABEL = "waver.running"  # the id of the state Running in which the process recorded itself
_SEPARATOR = "|"


def this_process() -> str:
    """Return the identity of this process."""
    process_id = os.getpid()
    return _SEPARATOR.join((*_computer(), str(process_id), _started(process_id) or ""))


def is_known_dead(identity: str) -> bool:
    """Return whether the process has ended; False if that cannot be known from here."""
    try:
        host, namespace, boot, process_id, started = identity.split(_SEPARATOR)
        number = int(process_id)
    except ValueError:
        return False
    my_host, my_namespace, my_boot = _computer()
    if (host, namespace) != (my_host, my_namespace):
        return False
    return boot != my_boot or _started(number) != started


def _computer() -> tuple[str, str, str]:
    """Return the host's name, the namespace of process ids, and the boot."""
    namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    return socket.gethostname(), namespace, Path("/proc/sys/kernel/random/boot_id").read_text()[:-1]


def _started(process_id: int) -> str | None:
    """Return when a process started, in clock ticks since the boot; None if it is gone or dead."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return None
    state, *fields = status.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
