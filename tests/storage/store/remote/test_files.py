"""The store's files in a real S3 server: what is requested, and that nothing stale is trusted."""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from s3fs import S3FileSystem

from storage.errors import StoreError
from storage.store.fetch import local_folder
from storage.store.remote import files
from storage.store.store import Store, store_of_process
from tests.s3_server import S3Server


@pytest.fixture
def store(bucket: str) -> Store:
    return Store(f"s3://{bucket}/a/store")


def keys(s3_server: S3Server, store: Store) -> list[str]:
    bucket = store.url.removeprefix("s3://").partition("/")[0]
    return s3_server.keys(bucket)


def test_opening_a_store_checks_once_that_it_can_be_written_and_leaves_nothing(store, s3_server):
    assert keys(s3_server, store) == []
    with s3_server.counted() as counts:
        Store(store.url)
    assert counts == {}


def test_each_operation_is_one_request(store, s3_server, tmp_path):
    def requests(operation):
        with s3_server.counted() as counts:
            operation()
        return dict(counts)

    local = tmp_path / "report.html"
    local.write_text("<p>")
    assert requests(lambda: store.write_bytes("stage/done/one.json", b"1")) == {"PUT": 1}
    assert requests(lambda: store.publish(local, "stage/report.html")) == {"PUT": 1}
    assert requests(lambda: store.read_bytes("stage/report.html")) == {"GET": 1}
    assert requests(lambda: store.file_state("stage/report.html", 3)) == {"GET": 1}
    assert requests(lambda: store.list_files("stage/done")) == {"LIST": 1}
    assert requests(lambda: store.list_files("stage/nothing")) == {"LIST": 1}
    assert requests(lambda: store.identity("stage/report.html")) == {"HEAD": 1}
    assert requests(lambda: store.exists("stage/report.html")) == {"HEAD": 1}
    assert requests(lambda: store.list_tree("stage")) == {"LIST": 1}
    assert not local.exists()


def test_what_an_upload_reports_is_what_a_listing_shows(store, tmp_path):
    local = tmp_path / "file"
    local.write_bytes(b"content")
    expected = {
        "stage/file": store.publish(local, "stage/file"),
        "stage/table": store.write_bytes("stage/table", b"x" * 100_000),
    }
    assert store.list_tree("stage") == expected
    assert {path: store.identity(path) for path in expected} == expected


def test_an_object_of_several_parts_is_whole_and_known_by_its_etag(store, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_IN_MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda *_, **__: 5 << 20)
    local = tmp_path / "weights"
    local.write_bytes(os.urandom(11 << 20))
    content = local.read_bytes()
    assert store.publish(local, "model/weights") is None, "the answer has no ETag: it is read back"
    (identity,) = store.list_tree("model").values()
    assert '-3"' in identity.text
    assert store.identity("model/weights") == identity
    assert store.file_state("model/weights", len(content)) == store.file_state("model/weights")
    assert store.read_bytes("model/weights") == content


def test_a_report_opens_in_a_browser(store, s3_server, tmp_path):
    (tmp_path / "report.html").write_text("<p>")
    store.publish(tmp_path / "report.html", "files/report.html")
    bucket = store.url.split("/")[2]
    facts = s3_server.client.head_object(Bucket=bucket, Key="a/store/files/report.html")
    assert facts["ContentType"] == "text/html"
    assert store.location("files/report.html") == f"s3://{bucket}/a/store/files/report.html"


def test_changes_by_others_are_seen_at_once(store, s3_server):
    bucket = store.url.split("/")[2]
    client = s3_server.client
    store.write_bytes("stage/one", b"1")
    before = store.list_tree("stage")
    client.put_object(Bucket=bucket, Key="a/store/stage/one", Body=b"2")
    client.put_object(Bucket=bucket, Key="a/store/stage/two", Body=b"2")
    assert store.read_bytes("stage/one") == b"2"
    assert store.list_tree("stage")["stage/one"] != before["stage/one"]
    assert store.list_files("stage") == ["stage/one", "stage/two"]
    client.delete_object(Bucket=bucket, Key="a/store/stage/one")
    assert not store.exists("stage/one")
    assert store.list_files("stage") == ["stage/two"]
    with pytest.raises(FileNotFoundError):
        store.read_bytes("stage/one")


def test_names_with_a_common_start_are_kept_apart(store):
    for path in ("stage/a/1", "stage/ab/2", "stage/a", "stage/a.b/3"):
        store.write_bytes(path, b"")
    assert list(store.list_tree("stage/a")) == ["stage/a/1"]
    store.remove("stage/a")
    assert list(store.list_tree("")) == ["stage/a.b/3", "stage/ab/2"]


def test_more_objects_than_one_page_are_listed_and_removed(store, s3_server):
    bucket = store.url.split("/")[2]
    s3_server.fill(bucket, (f"a/store/many/{n:04}" for n in range(1_005)))
    with s3_server.counted() as counts:
        assert len(store.list_files("many")) == 1_005
    assert counts == {"LIST": 2}
    store.remove("many")
    assert store.list_files("many") == []


def test_a_store_may_be_a_whole_bucket(bucket):
    store = Store(f"s3://{bucket}")
    store.write_bytes("stage/one", b"1")
    assert store.list_files("stage") == ["stage/one"]
    assert list(store.list_tree("")) == ["stage/one"]
    assert store.location("stage") == f"s3://{bucket}/stage"


def _read_in_child(url: str, path: str) -> bytes:
    return store_of_process(url).read_bytes(path)


def test_a_store_that_was_opened_before_a_fork_works_in_the_children_and_in_threads(store):
    store.write_bytes("sample", b"content")
    assert store_of_process(store.url).read_bytes("sample") == b"content"
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(_read_in_child, [(store.url, "sample")] * 6)
    assert found == [b"content"] * 6
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: store.read_bytes("sample"), range(40))) == {b"content"}


def test_a_folder_of_a_model_is_copied_once_and_then_found_by_a_listing(
    store, s3_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("config.json", "deeper/weights"):
        store.write_bytes(f"model/{name}", name.encode())
    folder = local_folder(store, "model")
    assert (folder / "deeper" / "weights").read_text() == "deeper/weights"
    with s3_server.counted() as counts:
        assert local_folder(Store(store.url), "model") == folder
    assert counts == {"LIST": 1, "GET": 1}, "the listing, and the index of digests"
    store.write_bytes("model/config.json", b"{}")
    assert (local_folder(store, "model") / "config.json").read_text() == "{}"


def mistake(url: str) -> str:
    started = time.monotonic()
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert time.monotonic() - started < 20
    assert ". " not in str(caught.value)
    return str(caught.value)


def test_a_missing_bucket_is_one_sentence_and_is_not_created(bucket, s3_server):
    assert "is in a bucket that does not exist" in mistake("s3://no-such-bucket/store")
    names = [row["Name"] for row in s3_server.client.list_buckets()["Buckets"]]
    assert "no-such-bucket" not in names


@pytest.mark.parametrize("kind", ["PUT", "DELETE"])
def test_denied_access_is_one_sentence(bucket, s3_server, monkeypatch, kind):
    monkeypatch.setattr(s3_server, "denied", {kind})
    assert "access denied" in mistake(f"s3://{bucket}/{kind}")


def test_an_endpoint_that_does_not_answer_is_one_sentence(bucket, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        S3FileSystem.clear_instance_cache()
        message = mistake(f"s3://{bucket}/unreachable")
    S3FileSystem.clear_instance_cache()
    assert f"cannot be reached at {url}: check the network and the endpoint" in message


def last_line_in_another_process(code: str, environment: dict[str, str]) -> str:
    code = f"{code}\nfrom storage.store.store import Store\nStore('s3://bucket/store')"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return ended.stderr.strip().splitlines()[-1]


def test_missing_credentials_and_a_missing_library_are_one_sentence(s3_server, tmp_path):
    variables = os.environ | {"AWS_ENDPOINT_URL": s3_server.url, "HOME": str(tmp_path)}
    environment = {n: v for n, v in variables.items() if n not in s3_server.environment}
    environment["AWS_EC2_METADATA_DISABLED"] = "true"
    message = last_line_in_another_process("", environment)
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in message
    message = last_line_in_another_process("import sys; sys.modules['s3fs'] = None", environment)
    assert message.endswith("needs a library that is not installed: pip install 'waver[s3]'.")


def test_access_that_is_denied_later_is_one_sentence(store, s3_server, monkeypatch):
    store.write_bytes("one", b"1")
    monkeypatch.setattr(s3_server, "denied", {"GET", "LIST", "HEAD", "PUT"})
    for operation in (
        lambda: store.read_bytes("one"),
        lambda: store.list_files("stage"),
        lambda: store.identity("one"),
        lambda: store.write_bytes("two", b"2"),
    ):
        with pytest.raises(StoreError, match=r"does not permit this access \(access denied\)"):
            operation()
