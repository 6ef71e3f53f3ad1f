"""What a store holds, by its markers alone; tables are read only for what was rejected."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from flows.context.context import open_context
from flows.context.models import finetune_variant, named_models
from flows.context.request import RunRequest
from flows.context.stage_names import STAGES
from flows.planning.plan import free_bytes
from flows.upkeep.needed import all_variants
from storage.errors import ModelError, ReadOnlyError
from storage.records import RejectedRecord
from storage.store.atomic import is_abandoned
from storage.store.journal import StageRun, read_runs
from storage.store.lease import read_holders
from storage.store.part import Part, read_parts, read_rows, read_tombstones
from storage.store.store import TEMPORARY, Store

_NUM_RUNS = 5  # of each stage


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantStatus:
    """One variant: the items that its parts hold, and the size of their tables and files.

    ``computed_at`` is when its newest part was written, in seconds since 1970; 0 without parts.
    """

    stage: str
    variant_id: str
    num_items: int
    num_bytes: int
    num_rejected: int
    computed_at: float
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedCount:
    """How many items of a stage were rejected for one reason."""

    stage: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """One store: its fields are the keys of `waver status --json`.

    ``free_bytes`` is ``None`` for a remote store. ``working`` describes processes at work now.
    """

    url: str
    variants: tuple[VariantStatus, ...]
    runs: tuple[StageRun, ...]
    rejected: tuple[RejectedCount, ...]
    working: tuple[str, ...]
    free_bytes: int | None


def read_status(store: Store, current: Collection[str]) -> StoreStatus:
    """Read a store's status; ``current`` are the paths of the variants to mark."""
    counts: Counter[tuple[str, str]] = Counter()
    variants = []
    for path in all_variants(store):
        variant, reasons = _read_variant(store, path, is_current=path in current)
        variants.append(variant)
        counts.update({(variant.stage, reason): count for reason, count in reasons.items()})
    order: dict[str, int] = {stage: number for number, stage in enumerate(STAGES)}
    variants.sort(key=lambda v: (order[v.stage], not v.is_current, -v.computed_at))
    return StoreStatus(
        url=store.url,
        variants=tuple(variants),
        runs=tuple(read_runs(store, per_stage=_NUM_RUNS)),
        rejected=tuple(
            RejectedCount(stage=stage, reason=reason, count=count)
            for (stage, reason), count in counts.most_common()
        ),
        working=tuple(_working(store)),
        free_bytes=free_bytes(store),
    )


def current_variants(request: RunRequest) -> frozenset[str]:
    """Return the paths of a request's variants, as far as its models are known."""
    context = open_context(request, read_only=True)
    paths = {context.segment.path, context.transcribe.path, context.manifest.path}
    try:
        if context.trains:
            paths.add(finetune_variant(context).path)
        elif request.models:
            models = named_models(context)
            paths |= {models.variant.path, *(model.variant.path for model in models.members)}
    except (ModelError, ReadOnlyError):
        pass
    return frozenset(paths)


def valid_parts(store: Store, path: str) -> list[tuple[Part, frozenset[str]]]:
    """Return a variant's parts, each with the items for which it is the newest valid one."""
    tombstones = read_tombstones(store, path)
    owners: dict[str, Part] = {}
    parts = sorted(read_parts(store, path), key=lambda part: (part.created_ns, part.part_id))
    for part in parts:
        for item in part.items:
            if (part.part_id, item) not in tombstones:
                owners[item] = part
    return [
        (part, frozenset(item for item in part.items if owners.get(item) is part))
        for part in parts
    ]  # fmt: skip


def _read_variant(
    store: Store, path: str, *, is_current: bool
) -> tuple[VariantStatus, Counter[str]]:
    """Return a variant's status, and the number of its rejected items by reason."""
    parts = valid_parts(store, path)
    reasons: Counter[str] = Counter()
    for part, items in parts:
        rows = read_rows(store, path, part, RejectedRecord) if items else []
        reasons.update(row.reason for row in rows if row.item_id in items)
    stage, _, variant_id = path.partition("/")
    status = VariantStatus(
        stage=stage,
        variant_id=variant_id,
        num_items=sum(len(items) for _, items in parts),
        num_bytes=sum(part.num_bytes for part, _ in parts),
        num_rejected=reasons.total(),
        computed_at=max((part.created_ns for part, _ in parts), default=0) / 1e9,
        is_current=is_current,
    )
    return status, reasons


def _working(store: Store) -> list[str]:
    """Describe the processes that hold leases, or show that they work in a local store."""
    holders = [
        f"{holder.stage} {holder.variant_id}: {holder.describe()}" for holder in read_holders(store)
    ]
    folder = Path(store.full_path(TEMPORARY))
    if holders or not store.is_local or not folder.is_dir():
        return holders
    num_signs = sum(not is_abandoned(path) for path in folder.iterdir())
    return ["a process that holds no lease, such as a report or an erasure"] if num_signs else []
