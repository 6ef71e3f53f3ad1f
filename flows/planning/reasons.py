"""Why items of a variant are missing: by comparison with what the store holds of them.

An item that the variant's own parts list was damaged, invalidated, or computed from other inputs.
Other items are looked up in the stage's other variants, those with the fewest other settings first,
the newest of them first: what differs is the reason. Items in no variant are new.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from flows.planning.records import Reason, ReasonKind
from storage.schema import read_parquet
from storage.store.part import Part, marker_paths, read_parts, read_tombstones
from storage.store.remote.errors import errors_of
from storage.store.store import Store
from storage.store.variant import Variant
from storage.store.variants import (
    UPSTREAM,
    VariantIdentity,
    parse_identity,
    read_identity,
    variant_ids,
)

_MAX_DIFFERENCES = 3  # named in one reason
_CHANGED = {
    "segment": "the video changed",
    "transcribe": "the video changed",
    "manifest": "segments, transcript or annotation changed",
    "finetune": "the training or validation samples changed",
    "infer": "segment or transcript changed",
    "aggregate": "predictions, labels or the data set changed",
}
_NEW = {
    "segment": "new videos", "transcribe": "new videos", "manifest": "new videos",
    "finetune": "new models", "infer": "new segments", "aggregate": "no report yet",
}  # fmt: skip
# What the settings in a variant's identity are called in a profile.
_SECTIONS = {"training": "finetune", "input": "input"}
_RENAMED = {"base": "finetune.model", "model": "the model", "prompt": "the prompt's text"}


@dataclass
class History:
    """What a variant's parts list: for each item its digests, and which of them count no longer."""

    digests: dict[str, set[str]] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    valid: set[tuple[str, str]] = field(default_factory=set)
    without_marker: set[str] = field(default_factory=set)

    def lists(self, item: str) -> bool:
        """Return whether any part lists an item, or a table without a marker contains it."""
        return item in self.digests or item in self.without_marker


def read_history(variant: Variant) -> History:
    """Read all markers of a variant, and tables whose marker is damaged or gone."""
    store, path, history = variant.store, variant.path, History()
    parts: list[Part] = sorted(read_parts(store, path), key=lambda part: part.created_ns)
    tombstones = read_tombstones(store, path)
    for part in parts:
        for item, digest in part.items.items():
            history.digests.setdefault(item, set()).add(digest)
            history.latest[item] = digest
            if (part.part_id, item) not in tombstones:
                history.valid.add((item, digest))
    history.without_marker = _items_without_marker(store, path, {part.part_id for part in parts})
    return history


def _items_without_marker(store: Store, path: str, part_ids: Collection[str]) -> set[str]:
    """Return the items of tables whose part has no intact marker."""
    items: set[str] = set()
    for folder in _table_folders(store, path):
        for table_path in store.list_files(folder):
            part_id = table_path.rpartition("/")[2].removesuffix(".parquet")
            if part_id in part_ids or not table_path.endswith(".parquet"):
                continue
            try:
                with store.open(table_path) as stream:
                    content = pa.BufferReader(stream.read())
                items.update(read_parquet(content, ["_item_id"])["_item_id"].to_pylist())
            except (pa.ArrowException, OSError, KeyError):
                continue
    return items


def _table_folders(store: Store, path: str) -> list[str]:
    """List the folders of a variant's tables, which are named as record classes."""
    try:
        with errors_of(store):
            found = store.fs.ls(store.full_path(path), detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = (row["name"].rstrip("/").rpartition("/")[2] for row in found)
    return [f"{path}/{name}" for name in names if name[:1].isupper()]


def explain(
    variant: Variant, history: History, missing: Mapping[str, str | None]
) -> tuple[Reason, ...]:
    """Explain why items of a variant are missing; a digest of ``None`` is not known yet."""
    counts: Counter[tuple[ReasonKind, str]] = Counter()
    elsewhere: list[str] = []
    for item, digest in missing.items():
        kind = _own_reason(history, item, digest)
        if kind is None:
            elsewhere.append(item)
        else:
            counts[kind, _detail(kind, variant.stage)] += 1
    counts.update(_reasons_elsewhere(variant, elsewhere))
    return as_reasons(counts)


def as_reasons(counts: Mapping[tuple[ReasonKind, str], int]) -> tuple[Reason, ...]:
    """Return counted reasons, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Reason(kind=k, detail=detail, count=count) for (k, detail), count in ordered)


def _own_reason(history: History, item: str, digest: str | None) -> ReasonKind | None:
    if item in history.digests:
        if digest is None or digest not in history.digests[item]:
            return "changed"
        return "damaged" if (item, digest) in history.valid else "invalidated"
    return "damaged" if item in history.without_marker else None


def _detail(kind: ReasonKind, stage: str) -> str:
    if kind == "changed":
        return _CHANGED[stage]
    return "files are damaged or gone" if kind == "damaged" else "forced in a run that stopped"


def _reasons_elsewhere(variant: Variant, items: Sequence[str]) -> Iterator[tuple[ReasonKind, str]]:
    """Yield the reason of each item that the variant itself never had."""
    left = set(items)
    own = parse_identity(variant.path, variant.identity)
    for other, history in _others(variant, own) if own and left else ():
        found = {item for item in left if history.lists(item)}
        left -= found
        if found and own is not None:
            yield from [_difference(other, own)] * len(found)
        if not left:
            return
    for _ in left:
        yield "new", _NEW[variant.stage]


def _others(
    variant: Variant, own: VariantIdentity | None
) -> Iterator[tuple[VariantIdentity, History]]:
    """Yield the stage's other variants, the most similar first, then the newest."""
    store = variant.store
    paths = (f"{variant.stage}/{name}" for name in variant_ids(store, variant.stage))
    identities = [read_identity(store, path) for path in paths if path != variant.path]
    others = [identity for identity in identities if identity and own]
    ranked = sorted(
        others, key=lambda other: (len(differences(other, own)), -_age_key(store, other))
    )
    for other in ranked:
        yield (
            other,
            read_history(Variant(store=store, stage=variant.stage, variant_id=other.variant_id)),
        )


def _age_key(store: Store, other: VariantIdentity) -> int:
    """Return when a variant's newest part was written, in nanoseconds since 1970."""
    if not marker_paths(store, other.path):
        return 0
    return max((part.created_ns for part in read_parts(store, other.path)), default=0)


def _difference(old: VariantIdentity, new: VariantIdentity) -> tuple[ReasonKind, str]:
    found = differences(old, new)
    kind: ReasonKind = "upstream"
    if old.settings != new.settings:
        kind = "settings"
    if old.version != new.version:
        kind = "version"
    more = f" and {len(found) - _MAX_DIFFERENCES} more" if len(found) > _MAX_DIFFERENCES else ""
    return kind, ", ".join(found[:_MAX_DIFFERENCES]) + more


def differences(old: VariantIdentity, new: VariantIdentity | None) -> list[str]:
    """List how two variants of a stage differ: version, settings, upstream variants."""
    if new is None:
        return []
    found = []
    if old.version != new.version:
        found.append(f"stage version {old.version} → {new.version}")
    before, after = dict(_flat(old)), dict(_flat(new))
    for name in sorted({*before, *after}):
        values = [_short(values.get(name, _ABSENT)) for values in (before, after)]
        if before.get(name, _ABSENT) != after.get(name, _ABSENT):
            found.append(f"{name}: {values[0]} → {values[1]}")
    if old.upstream != new.upstream:
        names = UPSTREAM.get(new.stage, ())
        changed = [
            name
            for name, *ids in zip(names, old.upstream, new.upstream, strict=False)
            if ids[0] != ids[1]
        ]
        found.append(f"other results of {' and '.join(changed) or 'the models'}")
    return found


_ABSENT = object()


def _flat(identity: VariantIdentity) -> Iterator[tuple[str, Any]]:
    """Yield the settings of an identity by the names that they have in a profile."""
    for name, value in identity.settings.items():
        if name in _SECTIONS and isinstance(value, dict):
            yield from ((f"{_SECTIONS[name]}.{key}", inner) for key, inner in value.items())
        else:
            yield _RENAMED.get(name, f"{identity.stage}.{name}"), value


def _short(value: object) -> str:
    """Return a value as in a profile; a digest by its first digits."""
    if value is _ABSENT:
        return "(none)"
    if isinstance(value, str):
        is_digest = len(value) == 32 and all(c in "0123456789abcdef" for c in value)
        return f"{value[:8]}…" if is_digest else value
    return str(value).lower() if isinstance(value, bool) else str(value)
