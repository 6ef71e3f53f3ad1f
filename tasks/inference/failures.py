"""The limit on failed segments, and the rejected rows that failures leave."""

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
from tasks.stage import Shard, compute_missing, rejected_output

_ALWAYS_ALLOWED = 10


def has_failed(output: ItemOutput, sample: SampleRecord, config: InputConfig) -> bool:
    """Return whether a segment is rejected or was predicted without damaged media."""
    predictions = [row for row in output.rows if isinstance(row, PredictionRecord)]
    return not predictions or any(count_damaged(predictions, [sample], config))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The failures among a variant's expected segments, and how many are allowed.

    A segment fails if it is rejected or predicted without damaged media. ``max_fraction`` of them
    may fail, and ten in any case. ``prefix`` starts every message, to name a subset of segments.
    """

    stage: str
    variant: Variant
    expected: Mapping[str, str]
    samples: Collection[SampleRecord]
    input_config: InputConfig
    max_fraction: float
    prefix: str = ""

    @property
    def max_failures(self) -> int:
        """How many segments may fail."""
        return max(_ALWAYS_ALLOWED, int(self.max_fraction * len(self.expected)))

    def count_left(self) -> int:
        """Return how many more segments may fail, by the rows stored so far."""
        counts = self._count()
        return self.max_failures - len(counts.rejected) - counts.num_damaged

    def check(self) -> None:
        """Raise StageError if more segments failed than allowed."""
        counts = self._count()
        num_rejected = len(counts.rejected)
        if num_rejected + counts.num_damaged <= self.max_failures:
            return
        message = failures_message(num_rejected, counts.num_damaged, len(self.expected))
        raise StageError(
            f"{self.prefix}{message}, expected at most {self.max_failures}, most often for: "
            f"{_most_common(counts.rejected)}. Fix the cause and run again with --force infer, "
            "which repeats all predictions, or raise infer.max_failed_fraction."
        )

    def warn(self) -> None:
        """Log a warning about rejected segments and about damaged media."""
        counts = self._count()
        if rejected := counts.rejected:
            LOGGER.warning(
                "%s: %s%d of %d segments are rejected, most often for: %s. After fixing that, "
                "--force infer repeats all predictions",
                self.stage, self.prefix, len(rejected), len(self.expected), _most_common(rejected),
            )  # fmt: skip
        if message := damage_message(
            counts.num_without_video, counts.num_without_audio, counts.num_predictions
        ):
            LOGGER.warning("%s: %s%s", self.stage, self.prefix, message)

    def _count(self) -> "_FailureCounts":
        """Read the rows as they are now; takes seconds for a large variant."""
        rows = self.variant.read(PredictionRecord, self.expected)
        num_without_video, num_without_audio = count_damaged(rows, self.samples, self.input_config)
        return _FailureCounts(
            rejected=self.variant.read(RejectedRecord, self.expected),
            num_predictions=len(rows),
            num_without_video=num_without_video,
            num_without_audio=num_without_audio,
        )

    def reject(self, reasons: Mapping[str, str]) -> None:
        """Store rejected rows for the segments that crash the engine, by segment id."""
        if not reasons:
            return
        LOGGER.warning(
            "%s: %srejected %d segments that crash the engine",
            self.stage, self.prefix, len(reasons),
        )  # fmt: skip
        compute_missing(
            self.variant,
            Shard(name="poison items", expected={item: self.expected[item] for item in reasons}),
            lambda items: (
                rejected_output(
                    self.stage, item, f"the engine died on it twice: {reasons[item]}", may_pass=True
                )
                for item in items
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FailureCounts:
    """A variant's failures at one moment."""

    rejected: Sequence[RejectedRecord]
    num_predictions: int
    num_without_video: int
    num_without_audio: int

    @property
    def num_damaged(self) -> int:
        """The number of damaged files that predictions were made without."""
        return self.num_without_video + self.num_without_audio


def _most_common(rejected: Sequence[RejectedRecord]) -> str:
    reasons = Counter(row.reason for row in rejected).most_common(1)
    return reasons[0][0] if reasons else "damaged media"
