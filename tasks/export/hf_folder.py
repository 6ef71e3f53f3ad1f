"""The manifest as a folder that Hugging Face `datasets` loads by path.

README.md                       the file of each split (https://huggingface.co/docs/datasets/
                                repository_structure), and the columns
data/<split>-00000-of-00001.parquet

Each file's metadata has the column types under ``huggingface``, as `datasets` itself writes them. A
media column holds bytes or a path; here it is a path into the store.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.datasets.consent import Purpose
from storage.errors import StoreError
from storage.records import SPLITS, SampleRecord
from storage.store.store import Store
from tasks.export.tables import manifest_table

# Hugging Face's names; rows without a split are exported too.
_SPLIT_NAMES: Mapping[str | None, str] = {
    **dict(zip(SPLITS, ("train", "validation", "test"), strict=True)),
    None: "unsplit",
}
_MEDIA = {"video_path": ("video", "Video"), "audio_path": ("audio", "Audio")}
_MEDIA_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TYPES: Mapping[pa.DataType, str] = {
    pa.string(): "string",
    pa.int64(): "int64",
    pa.float64(): "float64",
    pa.bool_(): "bool",
}
_CARD = """\
---
configs:
- config_name: default
  data_files:
{files}
---

# Segments of a data set, labeled for ambivalence and hesitancy

Each row is a segment of a video. Written by `waver export training --format hf` for the purpose
{purpose}.

{table}

`label` is 1 if ambivalence or hesitancy is present; `in_training` marks the rows that a model may
be trained on; times are milliseconds of the video, `[start_ms, end_ms)`. {media}

```python
from datasets import load_dataset

segments = load_dataset("{location}")
```
"""
_WITH_MEDIA = """`video` and `audio`
are paths on the computer that wrote this folder: `segments.cast_column("audio", Audio())` decodes
them. Transcripts and media are of real people: do not pass this folder on."""
_WITHOUT_MEDIA = "It contains neither\ntranscripts nor media."


def write_hub_folder(
    folder: Path, store: Store, samples: Sequence[SampleRecord], purpose: Purpose
) -> list[str]:
    """Write the samples to an empty folder, one file per split, and return a summary.

    Raises:
        StoreError: the store is remote, so its media have no path.
    """
    if purpose == "internal" and not store.is_local:
        raise StoreError(
            f"The store {store.url!r} is remote, so other programs cannot open its media by path: "
            "copy it to a folder and pass that with --store, or export for another purpose."
        )
    groups = {
        name: [s for s in samples if s.split == split] for split, name in _SPLIT_NAMES.items()
    }
    counts = {name: len(rows) for name, rows in groups.items() if rows}
    (folder / "data").mkdir()
    for name in counts:
        table = _hub_table(manifest_table(groups[name], purpose), store)
        pq.write_table(table, folder / _file_of(name), compression="zstd")
    card = _card(counts, purpose, with_media=purpose == "internal")
    (folder / "README.md").write_text(card, encoding="utf-8")
    return [", ".join(f"{count} rows in {name}" for name, count in counts.items())]


def _file_of(split_name: str) -> str:
    return f"data/{split_name}-00000-of-00001.parquet"


def _hub_table(table: pa.Table, store: Store) -> pa.Table:
    """Convert store paths to media columns, and add the type of every column."""
    for column, (name, _) in _MEDIA.items():
        if column in table.column_names:
            index = table.column_names.index(column)
            table = table.set_column(index, name, _media(table[column], store.full_path))
    features = {field.name: _feature(field) for field in table.schema}
    info = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": info})


def _media(paths: pa.ChunkedArray, full_path: Callable[[str], str]) -> pa.Array:
    full_paths = [path and str(Path(full_path(path)).absolute()) for path in paths.to_pylist()]
    rows = [path and {"bytes": None, "path": path} for path in full_paths]
    return pa.array(rows, type=_MEDIA_TYPE)


def _feature(field: pa.Field) -> dict[str, Any]:
    """Describe a column's type; media are not decoded by default."""
    for name, kind in _MEDIA.values():
        if field.name == name:
            return {"decode": False, "_type": kind}
    return {"dtype": _TYPES[field.type], "_type": "Value"}


def _card(counts: Mapping[str, int], purpose: Purpose, *, with_media: bool) -> str:
    files = "\n".join(f"  - split: {name}\n    path: {_file_of(name)}" for name in counts)
    rows = "\n".join(f"| {name} | {count} |" for name, count in counts.items())
    return _CARD.format(
        files=files,
        table=f"| split | rows |\n|---|---|\n{rows}",
        purpose=purpose,
        media=_WITH_MEDIA if with_media else _WITHOUT_MEDIA,
        location="FOLDER",
    )
