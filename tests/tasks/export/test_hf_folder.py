"""Checks against the layout documented by `datasets`, with pyarrow: `datasets` is no dependency."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from storage.errors import StoreError
from storage.records import SampleRecord
from storage.store.store import Store
from tasks.export.hf_folder import write_hub_folder

SPLITS = ("train", "val", "test", None)


@pytest.fixture(scope="module")
def stored(tmp_path_factory, toy_samples):
    store = Store(str(tmp_path_factory.mktemp("hub") / "store"))
    rows = toy_samples(store, 6)
    return store, [replace(row, split=SPLITS[i % 4]) for i, row in enumerate(rows)]


def read(folder: Path, split: str):
    return pq.read_table(folder / "data" / f"{split}-00000-of-00001.parquet")


def test_card_lists_every_split_and_its_file(stored, tmp_path: Path) -> None:
    store, samples = stored
    summary = write_hub_folder(tmp_path, store, samples, "internal")
    front = (tmp_path / "README.md").read_text().split("---\n")[1]
    (config,) = yaml.safe_load(front)["configs"]
    files = {entry["split"]: entry["path"] for entry in config["data_files"]}
    assert list(files) == ["train", "validation", "test", "unsplit"]
    assert sorted(files.values()) == sorted(f"data/{p.name}" for p in tmp_path.glob("data/*"))
    assert {name: read(tmp_path, name).num_rows for name in files} == {
        "train": 2, "validation": 2, "test": 1, "unsplit": 1,
    }  # fmt: skip
    assert summary == ["2 rows in train, 2 rows in validation, 1 rows in test, 1 rows in unsplit"]


def test_every_column_has_a_type_and_media_are_paths(stored, tmp_path: Path) -> None:
    store, samples = stored
    write_hub_folder(tmp_path, store, samples, "internal")
    table = read(tmp_path, "train")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.column_names
    assert features["video"] == {"decode": False, "_type": "Video"}
    assert features["start_ms"] == {"dtype": "int64", "_type": "Value"}
    first, second = table.to_pylist()
    assert Path(first["video"]["path"]) == Path(store.full_path(samples[0].video_path))
    assert Path(first["audio"]["path"]).is_file()
    assert second["audio"] is None  # the fifth toy sample has none
    assert set(SampleRecord.__annotations__) - {"video_path", "audio_path"} <= set(first)
    assert (first["transcript"], first["purpose"]) == (samples[0].transcript, "internal")


@pytest.mark.parametrize("purpose", ["publication", "challenge"])
def test_external_purposes_contain_no_transcripts_and_no_media(stored, tmp_path, purpose) -> None:
    store, samples = stored
    write_hub_folder(tmp_path, store, samples, purpose)
    columns = set(read(tmp_path, "train").column_names)
    assert not columns & {"transcript", "video", "audio", "video_path", "audio_path"}
    assert {"label", "num_words", "purpose"} <= columns
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert str(store.root).encode() not in written


def test_internal_export_of_a_remote_store_is_rejected(stored, tmp_path: Path) -> None:
    remote = Store("memory://hub export")
    with pytest.raises(StoreError, match="remote"):
        write_hub_folder(tmp_path, remote, stored[1], "internal")
    (tmp_path / "outside").mkdir()
    write_hub_folder(tmp_path / "outside", remote, stored[1], "publication")
