from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem

from storage.datasets.bah.annotation_cache import (
    READER_VERSION,
    AnnotatedVideo,
    AnnotationCache,
    annotation_folder,
    read_annotation_file,
)
from storage.errors import DataError
from storage.fingerprint import digest_of
from storage.issues import IssueKind
from storage.schema import read_parquet
from storage.store.cache import remove_cache
from storage.store.store import CACHE_FOLDER, Store

RECORD = {
    "all_cues": [{"facial": "frown"}, "both"],
    "annotator_id": "AB",
    "certainty_ah": [2],
    "global_ah": 1,
    "time_detailed_ah": [["00:00:05.000", "00:00:06.000"], ["00:00:01.721", "00:00:04.410"]],
    "transcript": {"chunks": [{"text": " I guess.", "timestamp": [0.0, None]}]},
}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


def _file(tmp_path: Path, **records: object) -> Path:
    path = tmp_path / "annotation.yaml"
    path.write_text(yaml.safe_dump(records))
    return path


def _make_parsing_impossible(monkeypatch) -> None:
    def fail(*_):
        raise AssertionError("YAML was parsed")

    monkeypatch.setattr(yaml.CSafeLoader, "get_single_node", fail)


def test_a_cached_annotation_is_read_without_parsing(tmp_path, store, monkeypatch):
    path = _file(tmp_path, first=RECORD, second={"global_ah": 0}, third="broken")
    parsed = read_annotation_file(path, AnnotationCache(store.url))
    assert parsed["first"].annotated[1].cues == (("unknown", "both"),)
    assert {issue.kind for issue in parsed["first"].issues} == {
        IssueKind.LENGTHS_DIFFER, IssueKind.INTERVALS_UNSORTED, IssueKind.TRANSCRIPT_OPEN,
    }  # fmt: skip
    _make_parsing_impossible(monkeypatch)
    assert read_annotation_file(path, AnnotationCache(store.url)) == parsed
    with pytest.raises(AssertionError, match="YAML was parsed"):
        read_annotation_file(path)


def test_other_content_is_parsed_and_both_are_cached(tmp_path, store, monkeypatch):
    cache = AnnotationCache(store.url)
    assert read_annotation_file(_file(tmp_path, v={"global_ah": 0}), cache)["v"].label == 0
    assert read_annotation_file(_file(tmp_path, v={"global_ah": 1}), cache)["v"].label == 1
    _make_parsing_impossible(monkeypatch)
    assert read_annotation_file(_file(tmp_path, v={"global_ah": 0}), cache)["v"].label == 0


def test_another_version_of_the_reader_parses_again(tmp_path, store, monkeypatch):
    path, cache = _file(tmp_path, v=RECORD), AnnotationCache(store.url)
    read_annotation_file(path, cache)
    monkeypatch.setattr("storage.datasets.bah.annotation_cache.READER_VERSION", -1)
    _make_parsing_impossible(monkeypatch)
    with pytest.raises(AssertionError, match="YAML was parsed"):
        read_annotation_file(path, cache)


def test_a_change_of_the_parsed_content_needs_another_readers_version(tmp_path):
    odd = {
        "all_cues": "none", "certainty_ah": [1, 2], "global_ah": 0, "fr_detailed_ah": [[1, 900]],
        "time_detailed_ah": [["0:0:2", "0:0:2"], [3.5, 2], ["00:00:01.000", "00:00:04.5"]],
        "transcript": {"chunks": [{"text": "a", "timestamp": [5, 9]},
                                  {"text": "b", "timestamp": [0, 1]}, 3]},
    }  # fmt: skip
    other = {"all_cues": [{"gaze": "up"}], "time_detailed_ah": [[1, 2]], "transcript": {
        "chunks": [{"text": t, "timestamp": [0, None]} for t in "ab"]}}  # fmt: skip
    path = _file(tmp_path, first=RECORD, second=odd, third={}, fourth=[], fifth=other)
    read = read_annotation_file(path)
    rows = [AnnotatedVideo(name=name, annotation=annotation) for name, annotation in read.items()]
    digest = digest_of([asdict(row) for row in rows])[:12]
    assert (READER_VERSION, digest) == (5, "cdb5f615b8c8"), "a cached annotation would be stale"


@pytest.mark.parametrize("location", [0, 3, 40, 500, -500, -40, -9, -1])
def test_a_damaged_file_is_ignored_and_written_again(tmp_path, store, monkeypatch, location):
    path, cache = _file(tmp_path, v=RECORD), AnnotationCache(store.url)
    parsed = read_annotation_file(path, cache)
    (kept,) = (Path(store.full_path(name)) for name in store.list_files(annotation_folder()))
    whole = kept.read_bytes()
    damaged = bytearray(whole)
    damaged[location] ^= 0x10
    for content in (bytes(damaged), whole[: len(whole) // 2], b""):
        kept.write_bytes(content)
        assert read_annotation_file(path, cache) == parsed
        assert [p.read_bytes() for p in kept.parent.iterdir()] == [whole]


def test_all_but_the_newest_files_are_removed(tmp_path, store):
    cache = AnnotationCache(store.url)
    for number in range(7):
        read_annotation_file(_file(tmp_path, v={"annotator_id": str(number)}), cache)
    assert len(store.list_files(annotation_folder())) == 4
    assert store.list_files(".tmp") == []


def test_a_file_with_a_python_tag_is_rejected_and_not_cached(tmp_path, store):
    path, ran = tmp_path / "annotation.yaml", tmp_path / "ran"
    path.write_text(f"v: !!python/object/apply:os.mkdir ['{ran}']\n")
    for _ in range(2):
        with pytest.raises(DataError, match=r"'annotation\.yaml' contains .* nothing was executed"):
            read_annotation_file(path, AnnotationCache(store.url))
    assert not ran.exists()
    assert not store.exists(CACHE_FOLDER)


def test_transcripts_are_not_cached(tmp_path, store):
    read_annotation_file(_file(tmp_path, v=RECORD), AnnotationCache(store.url))
    (kept,) = store.list_files(annotation_folder())
    rows = read_parquet(store.full_path(kept)).to_pylist()
    assert (rows[0]["name"], "guess" in str(rows)) == ("v", False)


def test_an_invalid_file_creates_no_store(tmp_path):
    path = tmp_path / "annotation.yaml"
    path.write_text("- no mapping\n")
    with pytest.raises(DataError, match="expected a mapping"):
        read_annotation_file(path, AnnotationCache(str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def test_the_whole_cache_is_one_folder_that_is_removed_at_once(tmp_path, store):
    read_annotation_file(_file(tmp_path, v=RECORD), AnnotationCache(store.url))
    found = [p for p in Path(store.root).rglob("*") if p.is_file()]
    assert found
    assert all(p.is_relative_to(store.full_path(CACHE_FOLDER)) for p in found)
    remove_cache(store)
    assert [p for p in Path(store.root).rglob("*") if p.is_file()] == []
    remove_cache(store)


def test_a_remote_store_caches_annotations_too(tmp_path, monkeypatch):
    MemoryFileSystem.store.clear()
    path, cache = _file(tmp_path, v=RECORD), AnnotationCache("memory://annotations")
    parsed = read_annotation_file(path, cache)
    _make_parsing_impossible(monkeypatch)
    assert read_annotation_file(path, cache) == parsed
