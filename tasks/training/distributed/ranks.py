"""The processes that train one model together: who takes which samples, and what they add up.

Every process ("rank") takes its part of each step's batch. Gradients of what every rank holds whole
are summed once a step, after all micro-batches: a rank that lacks a kind of input (rows without
sound, no readable row at all) takes part like the others, and none waits for what another does not
have. Those of what is shared out among ranks are `sharding`'s.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

import torch

from storage.errors import StageError
from storage.records import SampleRecord

T = TypeVar("T")
_PATIENCE = timedelta(hours=2)  # one rank may write 61 GB while the others wait
_BUCKET_NUMBERS = 64 << 20  # gradients that travel together


class Ranks:
    """This process among those that train together; a single one talks to nobody.

    Opened before anything else asks accelerate for its state, since that is shared.
    """

    def __init__(self, *, cpu: bool) -> None:
        from accelerate import PartialState

        distributed = {"timeout": _PATIENCE}
        self._state = PartialState(cpu=cpu, **distributed)

    @property
    def index(self) -> int:
        """This process's number, from 0."""
        return int(self._state.process_index)

    @property
    def count(self) -> int:
        """How many processes train together."""
        return int(self._state.num_processes)

    @property
    def is_first(self) -> bool:
        """The first process alone writes checkpoints and results, and tells progress."""
        return self.index == 0

    @property
    def device(self) -> Any:
        """What this process computes on."""
        return self._state.device

    def share(self, samples: Sequence[SampleRecord]) -> list[SampleRecord]:
        """Take this process's part of samples that all processes name alike."""
        return deal(samples, self.count)[self.index]

    def gather(self, value: T) -> list[T]:
        """Give every process's value, in their order, to every process."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def sum(self, value: float) -> float:
        """Add up every process's value; all get the same bits."""
        return sum(self.gather(value))

    def first(self, value: T) -> T:
        """Give the first process's value to every process."""
        return self.gather(value)[0]

    def wait(self) -> None:
        """Wait until every process has come here."""
        self.gather(None)

    def first_before_others(self) -> AbstractContextManager[None]:
        """Let the first process do what is inside ahead of the others."""
        return self._state.main_process_first()

    def agree_on(self, value: object, name: str) -> None:
        """Refuse to go on where processes hold different values.

        Raises:
            StageError: they do.
        """
        values = self.gather(value)
        if any(other != values[0] for other in values):
            raise StageError(
                f"The processes that train together disagree on {name} ({values!r}): let all of "
                "them see the same store and the same resources.finetune.checkpoint_folder."
            )

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Sum gradients over all processes; one that no process has stays without."""
        if self.count == 1 or not parameters:
            return
        used = torch.tensor([p.grad is not None for p in parameters], device=self.device).int()
        torch.distributed.all_reduce(used, torch.distributed.ReduceOp.MAX)
        shared = [p for p, is_used in zip(parameters, used.tolist(), strict=True) if is_used]
        for parameter in shared:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(shared):
            _sum_bucket(bucket)


def deal(samples: Sequence[SampleRecord], num_hands: int) -> list[list[SampleRecord]]:
    """Deal samples like cards, so that no two hands differ by more than one of either kind.

    The kinds are samples with sound and samples without; within a kind, neighbours are of like
    length. A single hand gets the samples as they lie.
    """
    if num_hands == 1:
        return [list(samples)]
    ordered = sorted(samples, key=lambda s: (not s.audio_path, s.end_ms - s.start_ms))
    return [ordered[hand::num_hands] for hand in range(num_hands)]


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.Tensor]]:
    """Give gradients in groups of about 64 million numbers of one type."""
    bucket: list[torch.Tensor] = []
    for parameter in parameters:
        assert parameter.grad is not None
        if bucket and parameter.grad.dtype != bucket[0].dtype:
            yield bucket
            bucket = []
        bucket.append(parameter.grad)
        if sum(gradient.numel() for gradient in bucket) >= _BUCKET_NUMBERS:
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
