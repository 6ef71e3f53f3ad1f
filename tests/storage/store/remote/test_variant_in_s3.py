"""A variant in a real S3 server: what changes there is noticed, with few requests."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.erasure.erase import erase_participant, find_traces
from storage.erasure.scan import scan_store
from storage.store.file_index import Verification
from storage.store.part import read_parts
from storage.store.store import Store
from storage.store.variant import Variant
from tests.storage.toys import Fact, Row, make, open_toy_variant, output

NUM_PARTS = 6
EXPECTED = {f"video {n:02}": f"digest {n}" for n in range(NUM_PARTS)}


@pytest.fixture
def variant(bucket: str) -> Variant:
    """Six parts with two tables and a file each, written by one process."""
    variant = open_toy_variant(Store(f"s3://{bucket}/store"))
    make(variant, EXPECTED)
    variant.store.save_indexes()
    return variant


def opened(variant: Variant, **options: object) -> Variant:
    """The variant as the next run sees it."""
    return open_toy_variant(Store(variant.store.url, Verification(**options)))


def key_of(variant: Variant, path: str) -> dict[str, str]:
    return {"Bucket": variant.store.url.split("/")[2], "Key": f"store/{path}"}


def test_what_was_written_is_neither_read_back_nor_read_by_the_next_run(variant, s3_server):
    with s3_server.counted() as counts:
        assert opened(variant).pending(EXPECTED) == []
    assert counts["LIST"] <= 5
    assert counts["GET"] == NUM_PARTS + 1, "the markers and the index"
    assert counts["HEAD"] <= 1


def test_a_run_with_nothing_to_do_costs_one_request_per_part_and_listings(variant, s3_server):
    first = opened(variant)
    rows = first.read(Row, EXPECTED), first.read(Fact, EXPECTED)
    with s3_server.counted() as counts:
        again = opened(variant)
        found = again.look(EXPECTED)
        assert found.pending == []
        assert (found.read(Row), found.read(Fact)) == rows
        assert (found.read(Row), found.read(Fact)) == rows
    assert len(rows[0]) == 2 * NUM_PARTS
    assert counts["LIST"] <= 5
    assert counts["GET"] + counts["HEAD"] <= NUM_PARTS + 2, "the copies, and the index"
    assert counts["PUT"] == 0


def delete(variant: Variant, client, path: str) -> None:
    client.delete_object(**key_of(variant, path))


def overwrite(variant: Variant, client, path: str) -> None:
    content = bytearray(variant.store.read_bytes(path))
    content[len(content) // 2] ^= 1
    client.put_object(**key_of(variant, path), Body=bytes(content))


@pytest.mark.parametrize("damage", [delete, overwrite])
@pytest.mark.parametrize("kind", ["file", "table", "marker"])
def test_an_object_that_others_deleted_or_changed_is_noticed_and_computed_again(
    variant, s3_server, kind, damage
):
    opened(variant).read(Row, EXPECTED)
    item = "video 04"
    (part,) = [part for part in read_parts(variant.store, variant.path) if item in part.items]
    paths = {
        "file": variant.file_path(f"{item}.txt"),
        "table": f"{variant.path}/Row/{part.part_id}.parquet",
        "marker": f"{variant.path}/done/{part.part_id}.json",
    }
    damage(variant, s3_server.client, paths[kind])
    for _ in range(2):
        found = opened(variant)
        assert found.pending(EXPECTED) == [item]
        found.store.save_indexes()
    assert make(opened(variant), EXPECTED) == [item]
    assert opened(variant).pending(EXPECTED) == []
    assert len(opened(variant).read(Row, EXPECTED)) == 2 * NUM_PARTS


def test_a_verification_downloads_everything(variant, s3_server):
    with s3_server.counted() as counts:
        assert opened(variant, everything=True).pending(EXPECTED) == []
    assert counts["GET"] >= NUM_PARTS * 3


def test_a_damaged_copy_is_replaced_and_never_read_as_rows(variant, s3_server):
    rows = opened(variant).read(Row, EXPECTED)
    copies = list(variant.store.list_tree(".cache/parts"))
    assert len(copies) == NUM_PARTS
    for path in copies[::2]:
        overwrite(variant, s3_server.client, path)
    delete(variant, s3_server.client, copies[1])
    content = variant.store.read_bytes(copies[5])
    s3_server.client.put_object(**key_of(variant, copies[3]), Body=content)
    assert opened(variant).read(Row, EXPECTED) == rows
    with s3_server.counted() as counts:
        assert opened(variant).read(Row, EXPECTED) == rows
    assert counts["GET"] <= NUM_PARTS + 1, "they were written again"


def test_an_invalidation_counts_in_the_same_process_and_in_others(variant):
    assert variant.pending(EXPECTED) == []
    variant.invalidate({"video 03": EXPECTED["video 03"]})
    assert variant.pending(EXPECTED) == ["video 03"]
    assert opened(variant).pending(EXPECTED) == ["video 03"]


WRITER = """
import sys
from storage.store.store import Store
from tests.storage.toys import make, open_toy_variant
print("started", flush=True)
sys.stdin.readline()
make(open_toy_variant(Store(sys.argv[1])), {f"item {n}": "digest" for n in range(8)}, sys.argv[2])
"""


def writer(url: str, content: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, content],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def start(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.parametrize("killed", [False, True])
def test_two_processes_that_write_at_once_leave_whole_results(bucket, s3_server, killed):
    url = f"s3://{bucket}/store"
    expected = {f"item {n}": "digest" for n in range(8)}
    first, second = writer(url, "of the first"), writer(url, "of the second")
    with first, second:
        start(first, second)
        while killed and not any("/done/" in key for key in s3_server.keys(bucket)):
            assert second.poll() is None
        if killed:
            first.send_signal(signal.SIGKILL)
        assert second.wait() == 0
        assert first.wait() == (-signal.SIGKILL if killed else 0)
    variant = open_toy_variant(Store(url))
    make(variant, expected, "of the second")
    assert variant.pending(expected) == []
    rows = variant.read(Row, expected)
    assert [row.name for row in rows] == [item for item in expected for _ in (1, 2)]
    for item in expected:
        content = variant.store.read_bytes(variant.file_path(f"{item}.txt")).decode()
        (note,) = {row.note for row in rows if row.name == item}
        assert content == f"file of {item} {note}"


def test_erasing_removes_the_copies_and_every_object_that_names_the_participant(bucket, tmp_path):
    store = Store(f"s3://{bucket}/store")
    variant = open_toy_variant(store)
    videos = [f"Videos/{who}/{who}_Question_1.mp4" for who in ("90001", "90002")]
    expected = dict.fromkeys(videos, "digest")
    outputs = []
    for video in videos:
        folder = Path(tmp_path, video).parent
        folder.mkdir(parents=True)
        outputs.append(output(variant, tmp_path, video))
    variant.commit(outputs, expected)
    assert len(variant.read(Fact, expected)) == 2
    assert list(store.list_tree(".cache/parts"))
    traces = find_traces(store, "90001", videos[:1], videos[1:])
    assert erase_participant(store, traces) == {"toy": 1}
    assert list(store.list_tree(".cache")) == []
    assert scan_store(store, traces).is_clean
    other = opened(variant)
    assert other.pending(expected) == videos[:1]
    assert [fact.name for fact in other.read(Fact, expected)] == videos[1:]
