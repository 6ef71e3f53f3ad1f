"""Partitions of a stage's items, for runs that use one store without knowing of each other.

A partition depends on the ids of all items alone, not on what is missing: runs of all partitions
cover every item exactly once, whenever and on whichever node each of them starts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from flows.context.stage_names import StageName
from storage.errors import ConfigError
from storage.fingerprint import digest_of

if TYPE_CHECKING:  # the command line imports this module, and its settings import Prefect
    from flows.context.request import RunRequest

Value = TypeVar("Value")

PARTITIONED: tuple[StageName, ...] = ("segment", "transcribe", "manifest", "infer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The ``number``-th of ``count`` partitions, counted from 1."""

    number: int
    count: int

    def select(self, items: Mapping[str, Value]) -> dict[str, Value]:
        """Return this partition's items: every ``count``-th in the order of their ids' digests.

        Sizes of partitions differ by at most one item.
        """
        order = sorted(items, key=lambda item: (digest_of(item), item))
        own = set(order[self.number - 1 :: self.count])
        return {item: value for item, value in items.items() if item in own}


def parse_partition(text: str) -> Partition:
    """Read a partition from "K/N".

    Raises:
        ConfigError: it is not of this form, or K is not between 1 and N.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, flags=re.ASCII)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise ConfigError(
            f"The partition {text!r} is not of the form K/N with K from 1 to N, as in 2/8."
        )
    return Partition(number=number, count=count)


def partition_of(request: "RunRequest") -> Partition | None:
    """Return the request's partition, or None if it runs on all items.

    Raises:
        ConfigError: as `parse_partition`, or the request names other than one stage that can run
            on a partition.
    """
    if request.partition is None:
        return None
    if len(request.stages()) != 1 or request.stages()[0] not in PARTITIONED:
        raise ConfigError(
            f"The partition {request.partition!r} needs exactly one stage: name one of "
            f"{', '.join(PARTITIONED)} with --only."
        )
    return parse_partition(request.partition)
