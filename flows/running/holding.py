"""Computing variants of which no other process computes the same, with the wait in the log."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flows.context.partition import Partition
from storage.store.lease import hold_leases
from storage.store.variant import Variant
from tasks.log import LOGGER


@contextmanager
def holding(
    stage: str, variants: Sequence[Variant], partition: Partition | None = None
) -> Iterator[None]:
    """Hold the leases of ``variants`` for the block; log whom it waits for.

    ``stage`` starts the log lines. What is missing must be looked up in the block. Different
    partitions of one number exclude only a process that computes all items.
    """

    def on_wait(holder: str) -> None:
        LOGGER.info("%s: waiting for %s", stage, holder)

    part = (partition.number, partition.count) if partition else None
    with hold_leases(variants, on_wait=on_wait, partition=part) as waited:
        if waited:
            LOGGER.info("%s: nobody else computes it now: computing what is still missing", stage)
        yield
