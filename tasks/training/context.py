"""Everything that one process of a training works with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.records import SampleRecord
from tasks.labels.class_plan import Plan, weights_of
from tasks.training.checkpoints.checkpoints import Checkpoints
from tasks.training.data.samples import RowReader
from tasks.training.distributed.fsdp import is_sharded
from tasks.training.distributed.ranks import Ranks
from tasks.training.model.trainable import OpenModel
from tasks.training.schedule import num_steps_of
from tasks.training.settings import FinetuneResources, TrainingSettings
from tasks.training.tracking.callbacks import TrainingCallback


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingContext:
    """Settings, model, data and output of a training; ``report`` takes progress lines."""

    settings: TrainingSettings
    plan: Plan
    resources: FinetuneResources
    opened: OpenModel
    reader: RowReader
    train_samples: Sequence[SampleRecord]
    val_samples: Sequence[SampleRecord]
    checkpoints: Checkpoints
    ranks: Ranks
    report: Callable[[str], None]
    callback: TrainingCallback

    @property
    def num_steps(self) -> int:
        """The number of optimizer steps."""
        return num_steps_of(self.settings, len(self.train_samples))

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds one shard of the model."""
        return is_sharded(self.resources, self.ranks)

    @property
    def answer_tokens(self) -> tuple[int, int]:
        """The token ids of No and Yes, in the order of labels 0 and 1."""
        return self.opened.token_no, self.opened.token_yes

    @property
    def token_weights(self) -> dict[int, float]:
        """Loss weights by answer token."""
        return dict(zip(self.answer_tokens, weights_of(self.plan), strict=True))

    def weight_of(self, sample: SampleRecord) -> float:
        """Return a sample's loss weight."""
        return weights_of(self.plan)[int(sample.label == 1)]
