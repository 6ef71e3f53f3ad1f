import json
from pathlib import Path

import pytest

from storage.erasure.scan import scan_store, stored_paths
from storage.erasure.traces import Traces
from storage.store.store import Store

VIDEO = "Videos/12/Visite_1/12_Question_4_Video.mp4"
TRACES = Traces("12", frozenset({VIDEO}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_an_empty_store_is_clean(store):
    scan = scan_store(store, TRACES)
    assert (scan.is_clean, scan.num_tables, scan.num_texts) == (True, 0, 0)


@pytest.mark.parametrize("location", ["folder", "memory"])
def test_stored_paths_are_relative_and_marked_as_files_or_folders(tmp_path, location):
    store = Store(str(tmp_path) if location == "folder" else f"memory://{tmp_path}")
    store.write_bytes("a/b/c.txt", b"")
    assert stored_paths(store)["a/b/c.txt"] is True
    assert stored_paths(store)["a/b"] is False
    assert stored_paths(store, "a/b") == {"a/b/c.txt": True}
    assert stored_paths(store, "nowhere") == {}


@pytest.mark.parametrize("suffix", ["json", "csv", "html", "log", "TXT"])
def test_every_kind_of_text_is_searched(store, suffix):
    store.write_bytes(f"x.{suffix}", f'{{"{VIDEO}": 1}}'.encode())
    store.write_bytes(f"y.{suffix}", b"nobody \xff")
    scan = scan_store(store, TRACES)
    assert (scan.found, scan.num_texts) == ((f"x.{suffix}",), 2)


def test_names_of_files_and_of_empty_folders_are_searched(store, tmp_path):
    store.write_bytes("a/12_Question_1.bin", b"")
    (tmp_path / "b" / "12_Question_2").mkdir(parents=True)
    assert scan_store(store, TRACES).found == ("a/12_Question_1.bin", "b/12_Question_2")


def test_numbers_in_a_models_vocabulary_are_no_participants(store):
    store.write_bytes("finetune/v/files/m/vocab.json", b'{"12": 1, "12/": 2, "/12_": 3}')
    assert scan_store(store, TRACES).is_clean
    store.write_bytes("finetune/v/files/m/notes.json", f'"{VIDEO}"'.encode())
    assert scan_store(store, TRACES).found == ("finetune/v/files/m/notes.json",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps({"seen": ["Videos/é/a b.mp4"]})),
        ("b.json", json.dumps({"Videos/é/a b.mp4": 1})),
        ("c.json", json.dumps([{"participant_id": "é"}])),
        ("d.csv", "video,participant\nx,é\n"),
        ("e.html", "<td>Videos/&#233;/a b.mp4</td>"),
    ],
)
def test_names_are_found_in_every_spelling_of_a_format(store, name, content):
    traces = Traces("é", frozenset({"Videos/é/a b.mp4"}))
    store.write_bytes(name, content.encode())
    store.write_bytes(f"other.{name[-4:]}", content.replace("a b", "c").replace("é", "e").encode())
    assert scan_store(store, traces).found[:1] == (name,)
