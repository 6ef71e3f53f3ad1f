"""What `waver plan` reports, as typed records: their fields are the keys of `--json`."""

from dataclasses import dataclass
from typing import Literal

ReasonKind = Literal[
    "new", "changed", "settings", "version", "upstream", "damaged", "invalidated", "forced",
    "rejected and forced", "not ready",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why items of a stage are missing.

    Attributes:
        kind: ``new`` items; ``changed`` inputs of an item; other ``settings``, ``version`` of the
            stage or ``upstream`` variants; ``damaged`` or removed files; results that were
            ``invalidated``, as by a forced run that stopped; ``forced``, and whether they were
            rejected; ``not ready``, as an earlier stage comes first.
        detail: A phrase for the reader, such as ``segment.crf: 23 → 20``.
        count: Items missing for this reason.
    """

    kind: ReasonKind
    detail: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What a run would do in one stage with one variant; ensembles have several for ``infer``.

    Attributes:
        variant_id: ``None`` if it depends on a model that does not exist yet.
        num_expected: Items, cached and missing; ``None`` if unknown.
        num_missing: Items that the run computes; ``None`` if unknown.
        is_estimate: Whether the numbers depend on results that an earlier stage has yet to compute.
        is_run: Whether the request runs the stage.
        reasons: Why items are missing, the most frequent first.
        seconds: Wall time by this store's own rates; ``None`` without any.
        num_bytes: Likewise.
    """

    stage: str
    variant_id: str | None
    num_expected: int | None
    num_cached: int
    num_missing: int | None
    is_estimate: bool
    is_run: bool
    reasons: tuple[Reason, ...] = ()
    seconds: float | None = None
    num_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run would compute, in order.

    Attributes:
        seconds: Sum over the stages with a rate; ``without_rate`` are the others.
        free_bytes: Of the store's disk; ``None`` for a remote store.
        problems: Why the run would stop.
    """

    stages: tuple[StagePlan, ...]
    seconds: float
    num_bytes: float
    free_bytes: int | None
    without_rate: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_cached(self) -> bool:
        """True if the run would compute nothing."""
        return all(stage.num_missing == 0 for stage in self.stages if stage.is_run)
