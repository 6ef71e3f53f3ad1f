import subprocess
import sys
from pathlib import Path

from flows.server import locks

HOLD = """
import sys
from pathlib import Path
from flows.server import locks
with locks.use(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_user_that_is_killed_is_one_no_longer(tmp_path: Path) -> None:
    assert not locks.has_users(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"held\n"
        assert locks.has_users(tmp_path)
        with locks.use(tmp_path) as file:
            assert not locks.upgrade_within(file, 0.2), "two users"
        user.kill()
    assert not locks.has_users(tmp_path)
    with locks.use(tmp_path) as file:
        assert locks.upgrade_within(file, 5)
        assert locks.lock(tmp_path / locks.USERS) is None


def test_a_server_is_alive_while_its_lock_is_held_and_looking_does_not_take_it(
    tmp_path: Path,
) -> None:
    assert not locks.is_alive(tmp_path)
    alive = locks.lock(tmp_path / locks.ALIVE)
    assert alive is not None
    assert locks.is_alive(tmp_path)
    assert locks.is_alive(tmp_path)
    alive.close()
    assert not locks.is_alive(tmp_path)
