"""Which side of train, val and test every video of a data set stands on.

`release`      the data set's own sides. Where it leaves a labelled video out, the video joins its
               participant's other videos, or is drawn by hash
`hash`         drawn by hash of the participant: an added video never moves another, so that what
               was measured before stays comparable. Hence the draw for data that grows
`stratified`   drawn by participant, with about the asked share of each label on every side. One
               more video may move others: the draw for a data set that is complete
`folds`        K parts, drawn by participant and stratified; one tests, the next one validates, and
               the others train (grouped and stratified K-fold cross-validation)

A drawn side is a matter of participants, video ids, labels and the seed: never of the videos'
order. Where nobody is named, a video is its own participant.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from storage.errors import ConfigError
from storage.records import SPLITS, VideoId, VideoRecord


class SplitRule(BaseModel):
    """How videos are dealt to train, val and test."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    split_by: Literal["release", "hash", "stratified", "folds"] = "release"
    """The data set's own split (`release`; by hash where it has none), or a draw by participant:
    `hash`, `stratified` by label, or K `folds`."""
    split_fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of train, val and test in a draw: of participants (`hash`), of videos of either label
    (`stratified`)."""
    split_seed: int = 0
    """Seed of the draw."""
    folds: int = Field(default=5, ge=3, le=1000)
    """Number of parts under `folds`."""
    fold: int = Field(default=0, ge=0)
    """The part, from 0, that tests under `folds`; the one after it validates."""

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "SplitRule":
        if abs(sum(self.split_fractions) - 1) > 1e-6 or min(self.split_fractions) < 0:
            raise ValueError(f"split_fractions {self.split_fractions} must be >= 0 and sum to 1")
        return self

    @model_validator(mode="after")
    def _fold_is_one_of_folds(self) -> "SplitRule":
        if self.fold >= self.folds:
            raise ValueError(
                f"fold {self.fold} must be one of 0 to {self.folds - 1}, for folds is {self.folds}"
            )
        return self


def assign_sides(videos: Iterable[VideoRecord], rule: SplitRule) -> dict[VideoId, str | None]:
    """Give every video its side; ``None`` to an unlabelled one, unless the data set says more.

    Raises:
        ConfigError: there are fewer participants than folds.
    """
    videos = list(videos)
    if rule.split_by == "release":
        return _as_released(videos, rule)
    labelled = [video for video in videos if _is_labelled(video)]
    side_of = _drawn_sides(labelled, rule)
    drawn = {video.video_id: side_of[_group_of(video)] for video in labelled}
    return {video.video_id: drawn.get(video.video_id) for video in videos}


def _as_released(videos: Sequence[VideoRecord], rule: SplitRule) -> dict[VideoId, str | None]:
    known = {_group_of(v): v.split for v in sorted(videos, key=_id_of) if v.split is not None}
    sides: dict[VideoId, str | None] = {}
    for video in videos:
        group, side = _group_of(video), video.split
        if side is None and _is_labelled(video):
            side = known.get(group) or side_by_hash(group, rule.split_fractions, rule.split_seed)
        sides[video.video_id] = side
    return sides


def _drawn_sides(videos: Sequence[VideoRecord], rule: SplitRule) -> dict[str, str]:
    """Draw a side for each participant."""
    counts = _label_counts(videos)
    if rule.split_by == "hash":
        return {g: side_by_hash(g, rule.split_fractions, rule.split_seed) for g in counts}
    if rule.split_by == "stratified":
        parts = deal_evenly(counts, rule.split_fractions, rule.split_seed)
        return {group: SPLITS[part] for group, part in parts.items()}
    if len(counts) < rule.folds:
        raise ConfigError(
            f"The labelled videos are of {len(counts)} participants, too few for "
            f"manifest.folds = {rule.folds}: lower it, or set manifest.split_by to another draw."
        )
    parts = deal_evenly(counts, [1 / rule.folds] * rule.folds, rule.split_seed)
    by_part = {rule.fold: "test", (rule.fold + 1) % rule.folds: "val"}
    return {group: by_part.get(part, "train") for group, part in parts.items()}


def side_by_hash(group: str, shares: tuple[float, float, float], seed: int) -> str:
    """Draw a participant's side by hash; ``shares`` are of train, val and test, and sum to 1."""
    point = _point(group, seed)
    return "train" if point < shares[0] else "val" if point < shares[0] + shares[1] else "test"


def deal_evenly(
    counts: Mapping[str, tuple[int, int]], shares: Sequence[float], seed: int
) -> dict[str, int]:
    """Deal participants to parts, so that each part gets about its share of both labels.

    ``counts`` holds a participant's number of videos without and with A/H. Participants are dealt
    one by one, those with most videos first and equals in an order drawn by the seed, each to the
    part that then lies least far from its share, in the sense of chi-squared: the greedy rule of
    Sechidis et al. 2011 ("On the stratification of multi-label data") and of scikit-learn's
    StratifiedGroupKFold, for parts of unequal size. The last ones go to the parts that nobody was
    dealt to, so that none with a share stays empty while there are participants enough.
    """
    totals = [sum(count[label] for count in counts.values()) for label in (0, 1)]
    held = [[0, 0] for _ in shares]
    expected = {part for part, share in enumerate(shares) if share}
    parts: dict[str, int] = {}
    for group in sorted(counts, key=lambda g: (-sum(counts[g]), _point(g, seed), g)):

        def excess(part: int, count: tuple[int, int] = counts[group]) -> float:
            return sum(
                added * (2 * held[part][label] + added) / (shares[part] * totals[label])
                for label, added in enumerate(count)
                if added
            )

        empty = expected - set(parts.values())
        is_needed = len(counts) - len(parts) <= len(empty)
        parts[group] = min(sorted(empty if is_needed else expected), key=excess)
        for label, added in enumerate(counts[group]):
            held[parts[group]][label] += added
    return parts


def _label_counts(videos: Iterable[VideoRecord]) -> dict[str, tuple[int, int]]:
    """Count each participant's videos without and with A/H."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for video in videos:
        counts[_group_of(video)][int(video.label != 0)] += 1
    return {group: (calm, positive) for group, (calm, positive) in counts.items()}


def _group_of(video: VideoRecord) -> str:
    return video.participant_id or video.video_id


def _id_of(video: VideoRecord) -> str:
    return video.video_id


def _is_labelled(video: VideoRecord) -> bool:
    return video.label is not None or bool(video.intervals)


def _point(group: str, seed: int) -> float:
    """Draw a number in [0, 1) by hash."""
    name = f"{seed}:{group}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") / 2**64
