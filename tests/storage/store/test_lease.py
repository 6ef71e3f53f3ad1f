import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.store.lease import (
    LEASES,
    hold_leases,
    read_holders,
    remove_dead_leases,
    remove_expired_leases,
)
from storage.store.store import Store
from tests.storage.store.test_atomic import name_of_a_dead_process
from tests.storage.toys import open_toy_variant

REPOSITORY = Path(__file__).parents[3]

_HOLDS = """
import sys, time
from tests.storage.toys import *
from storage.store.lease import hold_leases
variant = open_toy_variant(Store(sys.argv[1]))
with hold_leases([variant], on_wait=print, expiry_seconds=float(sys.argv[2])):
    print("holds", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@contextmanager
def holder(store: Store, *, seconds: float = 100, expiry: float = 60, prefix: tuple[str, ...] = ()):
    """Another process that holds the toy variant's lease."""
    command = [*prefix, sys.executable, "-c", _HOLDS, store.root, str(expiry), str(seconds)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def seconds_to_hold(store: Store, waits: list[str], expiry: float = 60) -> float:
    started = time.monotonic()
    with hold_leases(
        [open_toy_variant(store)], on_wait=waits.append, expiry_seconds=expiry
    ) as waited:
        assert waited == bool(waits)
        return time.monotonic() - started


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def files(store: Store) -> list[str]:
    return store.list_files(LEASES)


def test_who_comes_second_learns_who_works_and_waits_until_the_first_is_done(store):
    with holder(store, seconds=1.5) as process:
        waits = []
        assert 0.5 < seconds_to_hold(store, waits) < 30
        assert process.wait() == 0
    (wait,) = waits
    host = re.escape(os.uname().nodename)
    assert re.fullmatch(
        rf"process {process.pid} on {host}, which has worked on it since \d\d:\d\d", wait
    )
    assert files(store) == []


def test_a_killed_holder_of_this_host_is_replaced_at_once(store):
    with holder(store) as process:
        process.send_signal(signal.SIGKILL)
        # Its parent, this process, has not noticed yet: it is a zombie, and its number is taken.
        assert seconds_to_hold(store, []) < 5
    assert files(store) == []


@pytest.mark.slow
def test_a_killed_holder_of_another_host_is_replaced_when_its_beat_stays_the_same(
    store, with_own_mounts
):
    others = ("unshare", "-rpf", "--mount-proc", "--kill-child")  # processes with other numbers
    with holder(store, expiry=3, prefix=others) as process:
        waits = []
        thread = threading.Thread(target=seconds_to_hold, args=(store, waits, 3))
        thread.start()
        thread.join(5)
        assert thread.is_alive()  # its beats count
        process.kill()
        started = time.monotonic()
        thread.join(30)
        assert 1 < time.monotonic() - started < 15
    assert len(waits) == 1
    assert files(store) == []


def beating(store: Store, name: str, *, beat: object = 1, started: str = "2001-01-01T03:04:00Z"):
    """Write the file of a process of another host."""
    variant = open_toy_variant(store)
    content = {
        "beat": beat, "claim": {"ticket": 1, "is_claiming": True, "partition": None},
        "host": "node7", "process_id": 4711, "started_at": started,
    }  # fmt: skip
    path = f"{LEASES}/{variant.stage}.{variant.variant_id}.{name}.json"
    store.write_bytes(path, json.dumps(content).encode())
    return path


def test_time_stamps_and_clocks_play_no_role(store, monkeypatch):
    path = beating(store, "0000abcd-1-0123456789ab", started="2090-01-01T00:00:00+00:00")
    os.utime(store.full_path(path), (0, 0))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    waits = []
    assert 0.5 < seconds_to_hold(store, waits, expiry=0.6) < 10
    assert waits == [waits[0]]
    assert waits[0].startswith("process 4711 on node7, which has worked on it since 20")
    assert files(store) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"claim": {}}', b"null", b"\xff"])
def test_a_damaged_file_is_respected_until_it_expires(store, content):
    path = beating(store, "0000abcd-1-0123456789ab")
    store.write_bytes(path, content)
    waits = []
    assert 0.3 < seconds_to_hold(store, waits, expiry=0.4) < 10
    assert "an unknown host" in waits[0]


def test_other_files_are_left_alone(store):
    for name in ("notes.txt", "toy.json", ".hidden", "a.b.c.d.json"):
        store.write_bytes(f"{LEASES}/{name}", b"mine")
    assert seconds_to_hold(store, []) < 5
    assert read_holders(store) == []
    assert len(files(store)) == 4


def test_other_variants_do_not_wait(store):
    with holder(store):
        other = open_toy_variant(store, other=1)
        with hold_leases([other], on_wait=pytest.fail) as waited:
            assert not waited
            assert {h.variant_id for h in read_holders(store)} == {
                other.variant_id, open_toy_variant(store).variant_id,
            }  # fmt: skip


def test_partitions_of_one_number_work_side_by_side_and_exclude_a_whole_run(store):
    variant = open_toy_variant(store)
    with hold_leases([variant], on_wait=pytest.fail, partition=(1, 2)):
        with hold_leases([variant], on_wait=pytest.fail, partition=(2, 2)) as waited:
            assert not waited
            assert {h.claim.partition for h in read_holders(store)} == {(1, 2), (2, 2)}
        waits = []
        thread = threading.Thread(target=seconds_to_hold, args=(store, waits))
        thread.start()
        while not waits:
            time.sleep(0.01)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


def test_leases_of_several_variants_are_taken_in_one_order_so_nobody_waits_forever(store):
    variants = [open_toy_variant(store, number=n) for n in range(3)]
    done = []

    def hold(order: list) -> None:
        with hold_leases(order, on_wait=lambda _: None):
            time.sleep(0.05)
            done.append(1)

    orders = [variants, variants[::-1], variants[1:] + variants[:1]]
    threads = [threading.Thread(target=hold, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 3


def turns_of_many(store: Store) -> tuple[int, int]:
    """Let four threads take turns; returns how many turns there were, and how many at once."""
    variant = open_toy_variant(store)
    inside, most, turns = [], [], []

    def work() -> None:
        for _ in range(3):
            with hold_leases([variant], on_wait=lambda _: None, expiry_seconds=30):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()
                turns.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert files(store) == []
    return len(turns), max(most)


def test_of_many_that_come_at_once_one_works_at_a_time(store):
    assert turns_of_many(store) == (12, 1)


def test_of_many_that_come_at_once_one_works_at_a_time_in_an_object_store(bucket):
    assert turns_of_many(Store(f"s3://{bucket}/store")) == (12, 1)


def test_a_lease_in_an_object_store_costs_five_requests_and_expires_there_too(s3_server, bucket):
    store = Store(f"s3://{bucket}/store")
    open_toy_variant(store)
    with s3_server.counted() as requests:
        seconds_to_hold(store, [])
    assert dict(requests) == {"LIST": 3, "PUT": 1, "DELETE": 1}  # one LIST is of the removal
    beating(store, "0000abcd-1-0123456789ab")
    waits = []
    assert 0.5 < seconds_to_hold(store, waits, expiry=0.6) < 20
    assert waits[0].startswith("process 4711 on node7")


def test_a_lease_that_was_taken_away_is_written_again_and_the_work_goes_on(store):
    with hold_leases([open_toy_variant(store)], on_wait=pytest.fail, expiry_seconds=0.6):
        (path,) = files(store)
        store.remove(path)
        deadline = time.monotonic() + 10
        while files(store) != [path] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert files(store) == [path]
    assert files(store) == []


def test_a_store_that_is_away_while_work_is_done_does_not_disturb_it(store):
    with hold_leases([open_toy_variant(store)], on_wait=pytest.fail, expiry_seconds=0.24):
        Path(store.full_path(LEASES)).rename(store.full_path("away"))
        Path(store.full_path(LEASES)).write_text("a file where the folder was")
        time.sleep(0.2)


def test_a_store_that_cannot_be_written_is_one_sentence(store):
    Path(store.full_path(LEASES)).write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"Cannot write to '.*' \(.*\): name a writable location"):
        seconds_to_hold(store, [])


def test_waiting_ends_at_once_when_the_user_interrupts_it(store):
    script = _HOLDS.replace("on_wait=print", "on_wait=lambda text: print(text, flush=True)")
    # A shell lets its background jobs ignore the signal, and so the tests that it starts.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{heeds}\n{script}"
    with holder(store):
        command = [sys.executable, "-c", script, store.root, "60", "0"]
        waiting = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with waiting:
            assert waiting.stdout.readline().startswith("process ")
            started = time.monotonic()
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(20) != 0
            assert time.monotonic() - started < 5
            assert "KeyboardInterrupt" in waiting.stderr.read()
        assert len(files(store)) == 1


def test_files_of_dead_processes_of_this_host_are_removed(store):
    path = beating(store, name_of_a_dead_process())
    kept = beating(store, "0000abcd-1-0123456789ab")
    assert len(read_holders(store)) == 1
    assert remove_dead_leases(store) == 1
    assert files(store) == [kept] != [path]


def test_leases_whose_beat_stands_still_are_removed_and_live_ones_stay(store: Store) -> None:
    dead = f"{LEASES}/stage.variant.0badcafe-4711-0123456789ab.json"  # of another host
    store.write_bytes(dead, b"{}")
    with holder(store, expiry=0.5):
        assert len(files(store)) == 2
        remove_expired_leases(store, expiry_seconds=3)
        (left,) = files(store)
        assert left != dead
