"""A toy stage for tests and the processes they kill: two kinds of rows and a file for each item."""

from dataclasses import dataclass
from pathlib import Path

from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    number: int
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    name: str


def open_toy_variant(store: Store, **settings: object) -> Variant:
    return open_variant(store, "toy", version=1, settings=settings)


def output(variant: Variant, folder: Path, item: str, content: str = "") -> ItemOutput:
    """Two rows and a fact for each item, and a file that holds its name and content."""
    local = folder / f"{item}.made"
    local.write_text(f"file of {item} {content}")
    return ItemOutput(
        item_id=item,
        rows=(Fact(name=item), *(Row(name=item, number=n, note=content) for n in (1, 2))),
        files={variant.file_path(f"{item}.txt"): local},
    )


def make(variant: Variant, expected: dict[str, str], content: str = "") -> list[str]:
    """Make what is missing, one part an item; returns what that was."""
    pending = variant.pending(expected)
    for item in pending:
        with variant.store.staging() as folder:
            variant.commit([output(variant, folder, item, content)], expected)
    return pending
