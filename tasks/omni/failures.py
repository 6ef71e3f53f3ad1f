"""How many of an engine's segments may be rejected, and what is written of those that are."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage.errors import StageError
from storage.records import RejectedRecord, SampleRecord
from storage.results import PredictionRecord
from storage.variant import ItemOutput, Variant
from tasks.log import LOGGER
from tasks.omni.damaged import count_damaged, damage_told, failures_told
from tasks.omni.inputs import InputConfig
from tasks.stage import Shard, make_missing

_FEW = 10  # so many may be rejected, whatever share they are


def rejected(stage: str, segment_id: str, reason: str) -> ItemOutput:
    """Give what is stored of a segment that has no answer."""
    row = RejectedRecord(item_id=segment_id, stage=stage, reason=reason)
    return ItemOutput(item_id=segment_id, rows=(row,))


def has_failed(output: ItemOutput, sample: SampleRecord, config: InputConfig) -> bool:
    """Say whether a segment is rejected, or was asked about without damaged media."""
    answers = [row for row in output.rows if isinstance(row, PredictionRecord)]
    return not answers or any(count_damaged(answers, [sample], config))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What is rejected of a variant's wanted segments, or was asked about without damaged media.

    ``max_share`` of them may be, and some always. ``whose`` says before their number which segments
    they are, where that is not plain.
    """

    stage: str
    variant: Variant
    wanted: Mapping[str, str]
    samples: Collection[SampleRecord]
    input_config: InputConfig
    max_share: float
    whose: str = ""

    @property
    def most(self) -> int:
        """How many may fail."""
        return max(_FEW, int(self.max_share * len(self.wanted)))

    @property
    def num_left(self) -> int:
        """How many more may fail."""
        return self.most - len(self._rejected()) - sum(self._damaged())

    def check(self) -> None:
        """Stop where more failed than may; raises StageError."""
        rejected, num_damaged = self._rejected(), sum(self._damaged())
        if len(rejected) + num_damaged <= self.most:
            return
        raise StageError(
            f"{self.whose}{failures_told(len(rejected), num_damaged, len(self.wanted))}, expected "
            f"at most {self.most}, most often for: {_most_often(rejected)}. See to their cause and "
            "run again with --force infer, which asks about all anew, or go on without them by a "
            "higher infer.max_failed_share."
        )

    def tell(self) -> None:
        """Warn of segments that are rejected, or were asked about without their damaged media."""
        if rejected := self._rejected():
            LOGGER.warning(
                "%s: %s%d of %d segments are rejected, most often for: %s. Once that is mended, "
                "--force infer asks about all anew",
                self.stage, self.whose, len(rejected), len(self.wanted), _most_often(rejected),
            )  # fmt: skip
        num_answers = len(self.variant.read(PredictionRecord, self.wanted))
        if told := damage_told(*self._damaged(), num_answers):
            LOGGER.warning("%s: %s%s", self.stage, self.whose, told)

    def _rejected(self) -> list[RejectedRecord]:
        return self.variant.read(RejectedRecord, self.wanted)

    def _damaged(self) -> tuple[int, int]:
        rows = self.variant.read(PredictionRecord, self.wanted)
        return count_damaged(rows, self.samples, self.input_config)

    def reject(self, reasons: Mapping[str, str]) -> None:
        """Write down the segments on which the engine dies, with how it died on each."""
        if not reasons:
            return
        LOGGER.warning(
            "%s: %sthe engine dies on %d segments, rejected", self.stage, self.whose, len(reasons)
        )
        make_missing(
            self.variant,
            Shard(name="dead", wanted={item: self.wanted[item] for item in reasons}),
            lambda items: (
                rejected(self.stage, item, f"the engine died on it twice: {reasons[item]}")
                for item in items
            ),
        )


def _most_often(rejected: Sequence[RejectedRecord]) -> str:
    reasons = Counter(row.reason for row in rejected).most_common(1)
    return reasons[0][0] if reasons else "damaged media"
