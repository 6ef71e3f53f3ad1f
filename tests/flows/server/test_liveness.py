import os
import subprocess

import pytest

from flows.server.liveness import is_known_dead, this_process

HOST, NAMESPACE, BOOT, PROCESS, STARTED = range(5)


def changed(identity: str, *fields: int) -> str:
    parts = identity.split("|")
    for field in fields:
        parts[field] += "1"
    return "|".join(parts)


def test_this_process_is_alive_and_an_ended_one_is_dead() -> None:
    me = this_process()
    assert not is_known_dead(me)
    with subprocess.Popen(["true"]) as child:
        child.wait()
    assert is_known_dead(me.replace(f"|{os.getpid()}|", f"|{child.pid}|"))


def test_a_child_that_has_ended_but_was_not_waited_for_is_dead() -> None:
    process_id = os.fork()
    if process_id == 0:
        os._exit(0)
    os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)
    started = this_process().rpartition("|")[2]
    assert is_known_dead("|".join((*this_process().split("|")[:3], str(process_id), started)))
    os.waitpid(process_id, 0)


@pytest.mark.parametrize(
    ("field", "dead"),
    [
        (STARTED, True),  # another process has the number
        (BOOT, True),  # the computer was restarted
        (HOST, False),  # another computer: unknown here
        (NAMESPACE, False),  # another container
    ],
)
def test_the_identity_decides_only_about_processes_of_this_computer(field: int, dead: bool) -> None:
    assert is_known_dead(changed(this_process(), field)) is dead


@pytest.mark.parametrize("identity", ["", "a|b", "a|b|c|d|e"])
def test_an_unreadable_identity_is_not_dead(identity: str) -> None:
    assert not is_known_dead(identity)
