"""A stage as `run_stage` takes it, and what it reports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import Task

from flows.cluster.tasks_on_nodes import NodeResources
from flows.context.stage_names import StageName
from storage.records import RejectedRecord
from storage.store.variant import Variant
from tasks.stage import ItemRows, Shard, split_into_shards
from tasks.ui_artifacts import format_count

_SHARDS_PER_CORE = 4
_MAX_SHARDS = 500  # of a stage; Prefect's server slows down at a few thousand task runs per flow


def _verify_nothing(_: Sequence[str]) -> None:
    """Accept a stage that computes from rows alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage has to compute, decided when it starts.

    ``expected`` maps each item to the digest of its inputs. ``task`` computes the missing items of
    one shard of ``shard_size`` items, or more if there are very many. It is called with ``shard``
    and ``variant``, with ``arguments``, and with the rows of the shard's own items out of
    ``by_item``. Without ``checks_cached``, the shards with nothing to compute are one task run.
    ``unit`` is what an item is, in the plural. With ``is_followed``, progress is read from what is
    committed to the store. ``before_use`` gets the items that are missing, to verify the files that
    they are computed from.
    On a cluster each shard ``needs`` these resources of a node; without any, the shards stay here.
    """

    name: StageName
    unit: str
    variant: Variant
    expected: Mapping[str, str]
    task: Task[..., Any]
    arguments: Mapping[str, Any]
    by_item: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shard_size: int = 1
    checks_cached: bool = True
    is_followed: bool = True
    before_use: Callable[[Sequence[str]], None] = _verify_nothing
    needs: NodeResources | None = None

    def shards(self) -> list[Shard]:
        """Split the expected items into shards, in order."""
        shard_size = bounded_shard_size(len(self.expected), self.shard_size)
        return split_into_shards(self.expected, shard_size, self.unit)

    def arguments_of(self, shard: Shard) -> dict[str, Any]:
        """Return the keyword arguments of the task for one shard."""
        rows = {
            name: ItemRows({item: by_item[item] for item in shard.expected})
            for name, by_item in self.by_item.items()
        }
        return {"shard": shard, "variant": self.variant, **rows, **self.arguments}


def for_every_core(num_items: int, shard_size: int, num_cores: int) -> int:
    """Return a shard size that keeps all cores busy on few items of different lengths."""
    return max(1, min(shard_size, -(-num_items // (_SHARDS_PER_CORE * num_cores))))


def bounded_shard_size(num_items: int, shard_size: int) -> int:
    """Return ``shard_size``, or more if a stage would have too many shards."""
    return max(shard_size, -(-num_items // _MAX_SHARDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """How many items of a stage were cached, computed and rejected; ``seconds`` is wall time.

    ``unit`` is what an item is, in the plural. ``first_rejected`` are the first of the rejected
    ones, and ``reasons`` how many were rejected for which reason. ``warnings`` were logged in the
    stage. ``headline`` is what it found, in Markdown, one paragraph or list item each.
    """

    stage: str
    unit: str = "items"
    variant_id: str
    num_expected: int
    num_cached: int
    num_computed: int
    num_rejected: int
    seconds: float
    first_rejected: tuple[RejectedRecord, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    warnings: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()

    @property
    def is_cached(self) -> bool:
        """True if the stage had nothing to compute."""
        return self.num_computed == 0

    @property
    def rejected_fraction(self) -> str:
        """How many were rejected, such as ``2 of 40 videos rejected``."""
        return f"{self.num_rejected} of {format_count(self.num_expected, self.unit)} rejected"
