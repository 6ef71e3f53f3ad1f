"""The processes of one training: partitions of the samples, and collective operations.

Each process ("rank") computes a partition of each step's batch. Gradients of replicated parameters
are summed once per step, after all micro-batches: a rank without some kind of input (rows with
audio, any readable row) takes part like the others, and no rank waits for a gradient that another
does not have. `fsdp` reduces the gradients of sharded parameters.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

import torch

from storage.errors import StageError
from storage.records import SampleRecord

T = TypeVar("T")
_TIMEOUT = timedelta(hours=2)  # one rank may write 61 GB while the others wait
_BUCKET_SIZE = 64 << 20  # elements reduced together


class Ranks:
    """The process group of a training, seen from this process; trivial for a single process.

    Must be created before anything else initializes accelerate's shared state.
    """

    def __init__(self, *, cpu: bool) -> None:
        from accelerate import PartialState

        options = {"timeout": _TIMEOUT}
        self._state = PartialState(cpu=cpu, **options)

    @property
    def index(self) -> int:
        """The rank of this process, from 0."""
        return int(self._state.process_index)

    @property
    def count(self) -> int:
        """The number of processes (world size)."""
        return int(self._state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes results and reports progress."""
        return self.index == 0

    @property
    def device(self) -> Any:
        """The device of this process."""
        return self._state.device

    def partition(self, samples: Sequence[SampleRecord]) -> list[SampleRecord]:
        """Return this process's partition of samples that are the same in all processes."""
        return partition_samples(samples, self.count)[self.index]

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in order of ranks, in every process."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def sum(self, value: float) -> float:
        """Return the sum over all processes, bitwise the same in each."""
        return sum(self.gather(value))

    def broadcast(self, value: T) -> T:
        """Return the main process's value in every process."""
        return self.gather(value)[0]

    def barrier(self) -> None:
        """Wait until every process arrives here."""
        self.gather(None)

    def main_process_first(self) -> AbstractContextManager[None]:
        """Return a context that the main process runs before the others."""
        return self._state.main_process_first()

    def check_equal(self, value: object, name: str) -> None:
        """Raise if a value differs between processes.

        Raises:
            StageError: names the value.
        """
        values = self.gather(value)
        if any(other != values[0] for other in values):
            raise StageError(
                f"The training processes disagree on {name} ({values!r}): give all the same "
                "store and the same resources.finetune.checkpoint_folder."
            )

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Sum gradients over all processes; parameters without a gradient in any stay without."""
        if self.count == 1 or not parameters:
            return
        used = torch.tensor([p.grad is not None for p in parameters], device=self.device).int()
        torch.distributed.all_reduce(used, torch.distributed.ReduceOp.MAX)
        in_use = [p for p, is_used in zip(parameters, used.tolist(), strict=True) if is_used]
        for parameter in in_use:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(in_use):
            _sum_bucket(bucket)


def partition_samples(
    samples: Sequence[SampleRecord], num_partitions: int
) -> list[list[SampleRecord]]:
    """Split samples into partitions with equal numbers, up to one, with and without audio.

    Samples of similar duration are spread over the partitions. A single partition keeps the order.
    """
    if num_partitions == 1:
        return [list(samples)]
    ordered = sorted(samples, key=lambda s: (not s.audio_path, s.end_ms - s.start_ms))
    return [ordered[index::num_partitions] for index in range(num_partitions)]


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.Tensor]]:
    """Group gradients of one dtype into buckets of about 64 million elements."""
    bucket: list[torch.Tensor] = []
    for parameter in parameters:
        assert parameter.grad is not None
        if bucket and parameter.grad.dtype != bucket[0].dtype:
            yield bucket
            bucket = []
        bucket.append(parameter.grad)
        if sum(gradient.numel() for gradient in bucket) >= _BUCKET_SIZE:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def _sum_bucket(gradients: Sequence[torch.Tensor]) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    totals = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, total in zip(gradients, totals, strict=True):
        gradient.copy_(total.view_as(gradient))
