"""How many of an engine's segments may be rejected, and what is written of those that are."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage.errors import StageError
from storage.records import RejectedRecord, SampleRecord
from storage.results import PredictionRecord
from storage.store.variant import ItemOutput, Variant
from tasks.inference.damaged_media import count_damaged, damage_message, failures_message
from tasks.log import LOGGER
from tasks.prompting.model_input import InputConfig
from tasks.stage import Shard, compute_missing

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

    ``max_fraction`` of them may be, and some always. ``whose`` says before their number which segments
    they are, where that is not plain.
    """

    stage: str
    variant: Variant
    expected: Mapping[str, str]
    samples: Collection[SampleRecord]
    input_config: InputConfig
    max_fraction: float
    whose: str = ""

    @property
    def most(self) -> int:
        """How many may fail."""
        return max(_FEW, int(self.max_fraction * len(self.expected)))

    @property
    def num_left(self) -> int:
        """How many more may fail."""
        found = self._read()
        return self.most - len(found.rejected) - found.num_damaged

    def check(self) -> None:
        """Stop where more failed than may; raises StageError."""
        found = self._read()
        num_rejected = len(found.rejected)
        if num_rejected + found.num_damaged <= self.most:
            return
        message = failures_message(num_rejected, found.num_damaged, len(self.expected))
        raise StageError(
            f"{self.whose}{message}, expected at most {self.most}, most often for: "
            f"{_most_often(found.rejected)}. See to their cause and run again with --force infer, "
            "which asks about all anew, or go on without them by a higher infer.max_failed_fraction."
        )

    def tell(self) -> None:
        """Warn of segments that are rejected, or were asked about without their damaged media."""
        found = self._read()
        if rejected := found.rejected:
            LOGGER.warning(
                "%s: %s%d of %d segments are rejected, most often for: %s. Once that is repaired, "
                "--force infer asks about all anew",
                self.stage, self.whose, len(rejected), len(self.expected), _most_often(rejected),
            )  # fmt: skip
        if message := damage_message(
            found.num_without_video, found.num_without_audio, found.num_answers
        ):
            LOGGER.warning("%s: %s%s", self.stage, self.whose, message)

    def _read(self) -> "_Found":
        """Read the rows as they are now; a large variant's take seconds."""
        rows = self.variant.read(PredictionRecord, self.expected)
        without_video, without_audio = count_damaged(rows, self.samples, self.input_config)
        return _Found(
            rejected=self.variant.read(RejectedRecord, self.expected),
            num_answers=len(rows),
            num_without_video=without_video,
            num_without_audio=without_audio,
        )

    def reject(self, reasons: Mapping[str, str]) -> None:
        """Write down the segments on which the engine dies, with how it died on each."""
        if not reasons:
            return
        LOGGER.warning(
            "%s: %sthe engine dies on %d segments, rejected", self.stage, self.whose, len(reasons)
        )
        compute_missing(
            self.variant,
            Shard(name="dead", expected={item: self.expected[item] for item in reasons}),
            lambda items: (
                rejected(self.stage, item, f"the engine died on it twice: {reasons[item]}")
                for item in items
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a variant holds at one moment of the wanted segments."""

    rejected: Sequence[RejectedRecord]
    num_answers: int
    num_without_video: int
    num_without_audio: int

    @property
    def num_damaged(self) -> int:
        """How many were asked about without a damaged picture, or sound."""
        return self.num_without_video + self.num_without_audio


def _most_often(rejected: Sequence[RejectedRecord]) -> str:
    reasons = Counter(row.reason for row in rejected).most_common(1)
    return reasons[0][0] if reasons else "damaged media"
