"""What a store's stages rejected and why, and trying those again whose reason may pass."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from flows.upkeep.needed import all_variants
from flows.upkeep.status import valid_parts
from storage.records import RejectedRecord, TransientRecord
from storage.store.part import read_rows
from storage.store.store import Store
from storage.store.variant import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedItem:
    """A rejected item of one variant; its fields are the columns of the exported table.

    Attributes:
        may_pass: Whether another try may succeed: a limit of time or memory, a disk, a process that
            died, or an error that nobody foresaw. False where a store does not record it.
    """

    stage: str
    variant_id: str
    item_id: str
    reason: str
    may_pass: bool


def find_rejected(
    store: Store,
    *,
    stages: Collection[str] = (),
    text: str = "",
    variants: Collection[str] | None = None,
) -> list[RejectedItem]:
    """Find rejected items by stage and by a text in the reason, in any case of letters.

    ``variants`` are the paths of those to search, by default all.
    """
    found = []
    for path in all_variants(store):
        stage, _, variant_id = path.partition("/")
        if (stages and stage not in stages) or (variants is not None and path not in variants):
            continue
        for part, items in valid_parts(store, path):
            rows = read_rows(store, path, part, RejectedRecord) if items else []
            transient = {row.item_id for row in read_rows(store, path, part, TransientRecord)}
            found += [
                RejectedItem(
                    stage=stage, variant_id=variant_id, item_id=row.item_id, reason=row.reason,
                    may_pass=row.item_id in transient,
                )
                for row in rows
                if row.item_id in items and text.casefold() in row.reason.casefold()
            ]  # fmt: skip
    return found


def invalidate_rejected(store: Store, rejected: Sequence[RejectedItem]) -> int:
    """Invalidate those whose reason may pass, so that the next run computes them; return how many.

    Raises:
        StoreError: the store cannot be written.
    """
    by_path: dict[str, set[str]] = defaultdict(set)
    for row in rejected:
        if row.may_pass:
            by_path[f"{row.stage}/{row.variant_id}"].add(row.item_id)
    with store.at_work():
        for path, items in by_path.items():
            stage, _, variant_id = path.partition("/")
            digests = {
                item: part.items[item]
                for part, valid in valid_parts(store, path)
                for item in items & valid
            }
            Variant(store=store, stage=stage, variant_id=variant_id).invalidate(digests)
    return sum(map(len, by_path.values()))
