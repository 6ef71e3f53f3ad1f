"""The variants that a store holds: their names, and what each `variant.json` states."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from storage.store.remote.errors import errors_of
from storage.store.store import Store

UPSTREAM = {  # the stages of the variants that an identity names, in their order
    "transcribe": ("segment",),
    "manifest": ("segment", "transcribe"),
    "aggregate": ("manifest", "infer"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantIdentity:
    """What identifies a variant, besides its stage."""

    path: str
    version: int
    settings: Mapping[str, Any]
    upstream: tuple[str, ...]

    @property
    def stage(self) -> str:
        """The variant's stage."""
        return self.path.partition("/")[0]

    @property
    def variant_id(self) -> str:
        """The variant's id, unique within its stage."""
        return self.path.rpartition("/")[2]


def variant_ids(store: Store, stage: str) -> list[str]:
    """List the folders of a stage's variants, sorted; also those whose identity is damaged."""
    store.fs.invalidate_cache()
    try:
        with errors_of(store):
            found = store.fs.ls(store.full_path(stage), detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    folders = (row["name"].rstrip("/") for row in found if row["type"] == "directory")
    return sorted(PurePosixPath(name).name for name in folders)


def read_identity(store: Store, path: str) -> VariantIdentity | None:
    """Read a variant's identity; ``None`` if it is missing or damaged."""
    try:
        with store.open(f"{path}/variant.json") as stream:
            return parse_identity(path, stream.read())
    except FileNotFoundError:
        return None


def parse_identity(path: str, text: str | bytes) -> VariantIdentity | None:
    """Parse the content of a `variant.json`; ``None`` if it is damaged."""
    try:
        content = json.loads(text)
        return VariantIdentity(
            path=path,
            version=int(content["version"]),
            settings=dict(content["settings"]),
            upstream=tuple(map(str, content["upstream"])),
        )
    except (ValueError, KeyError, TypeError):
        return None
