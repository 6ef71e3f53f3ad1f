"""The rules by which processes agree who computes a stage, without locks or a common clock.

Each process shows itself by one small file that only it writes (`lease`). The files have a total
order. A process claims the work when none of the others claims it and none that came earlier waits.
It has the work once a listing *after* its own claim was written shows no other claim: of two that
claim at once, at least the later writer sees the other. The one that is later in the order then
withdraws.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

Partition = tuple[int, int]
"""Partition K of N of a stage's items, as (K, N)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a process's file states: its position in the order, and whether it claims the work.

    ``partition`` is ``None`` for all of the stage's items.
    """

    ticket: int
    holder: str
    is_claiming: bool
    partition: Partition | None = None

    @property
    def order(self) -> tuple[int, str]:
        """Return the position among all processes: the earlier one goes first."""
        return self.ticket, self.holder

    def excludes(self, other: "Claim") -> bool:
        """Return whether both may not work at once; different partitions of the same N may."""
        if self.partition is None or other.partition is None:
            return True
        (own_part, own_count), (part, count) = self.partition, other.partition
        return own_count != count or own_part == part


class Step(Enum):
    """What a process does after it has listed the others."""

    WORK = "it has the work"
    CLAIM = "write that it claims the work, and list again"
    WITHDRAW = "write that it waits"
    WAIT = "list again later"


def next_step(own: Claim, others: Collection[Claim]) -> Step:
    """Decide what a process does; ``own`` is what its file stated before the listing.

    ``others`` are those of live processes that exclude it.
    """
    claiming = [other for other in others if other.is_claiming]
    if own.is_claiming:
        if not claiming:
            return Step.WORK
        has_earlier = any(other.order < own.order for other in claiming)
        return Step.WITHDRAW if has_earlier else Step.WAIT
    if claiming or any(other.order < own.order for other in others):
        return Step.WAIT
    return Step.CLAIM


def next_ticket(others: Collection[Claim]) -> int:
    """Return the ticket of a process that comes after all others that it sees."""
    return 1 + max((other.ticket for other in others), default=0)
