"""Assignment of videos to train, val and test.

`release`      the data set's own split. A labeled video that it leaves out joins its participant's
               other videos, or is assigned by hash
`hash`         by hash of the participant: adding a video never moves another, so earlier metrics
               stay comparable. For data that grows
`stratified`   by participant, with about the requested fraction of each label in every split.
               Adding a video may move others. For a complete data set
`folds`        K folds by participant, stratified; one is the test set, the next one the validation
               set, and the others train (grouped and stratified K-fold cross-validation)

An assignment depends on participants, video ids, labels and the seed, never on the order of videos
or the spelling of ids (`storage.identity`). A video without a participant is its own participant.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from storage.errors import ConfigError
from storage.identity import group_key
from storage.records import SPLITS, VideoId, VideoRecord


class SplitRule(BaseModel):
    """How videos are assigned to train, val and test."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    split_by: Literal["release", "hash", "stratified", "folds"] = "release"
    """The data set's own split (`release`; by hash if it has none), or an assignment by
    participant: `hash`, `stratified` by label, or K `folds`."""
    split_fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Fractions of train, val and test: of participants (`hash`), or of videos of either label
    (`stratified`)."""
    split_seed: int = 0
    """Seed of the assignment."""
    folds: int = Field(default=5, ge=3, le=1000)
    """Number of folds under `folds`."""
    fold: int = Field(default=0, ge=0)
    """Index of the test fold under `folds`; the next one validates."""

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> "SplitRule":
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


def assign_splits(videos: Iterable[VideoRecord], rule: SplitRule) -> dict[VideoId, str | None]:
    """Assign every video a split; ``None`` for an unlabeled video without a released split.

    Raises:
        ConfigError: there are fewer participants than folds.
    """
    videos = list(videos)
    if rule.split_by == "release":
        return _released_splits(videos, rule)
    labeled = [video for video in videos if _is_labeled(video)]
    split_of_group = _assign_groups(labeled, rule)
    assigned = {video.video_id: split_of_group[group_key(video)] for video in labeled}
    return {video.video_id: assigned.get(video.video_id) for video in videos}


def _released_splits(videos: Sequence[VideoRecord], rule: SplitRule) -> dict[VideoId, str | None]:
    by_id = sorted(videos, key=lambda video: video.video_id)
    known = {group_key(video): video.split for video in by_id if video.split is not None}
    splits: dict[VideoId, str | None] = {}
    for video in videos:
        group, split = group_key(video), video.split
        if split is None and _is_labeled(video):
            split = known.get(group) or split_by_hash(group, rule.split_fractions, rule.split_seed)
        splits[video.video_id] = split
    return splits


def _assign_groups(videos: Sequence[VideoRecord], rule: SplitRule) -> dict[str, str]:
    """Assign each participant a split."""
    counts = _label_counts(videos)
    if rule.split_by == "hash":
        return {g: split_by_hash(g, rule.split_fractions, rule.split_seed) for g in counts}
    if rule.split_by == "stratified":
        parts = stratify(counts, rule.split_fractions, rule.split_seed)
        return {group: SPLITS[part] for group, part in parts.items()}
    if len(counts) < rule.folds:
        raise ConfigError(
            f"The labeled videos have {len(counts)} participants, too few for "
            f"manifest.folds = {rule.folds}: lower it, or choose another manifest.split_by."
        )
    parts = stratify(counts, [1 / rule.folds] * rule.folds, rule.split_seed)
    by_part = {rule.fold: "test", (rule.fold + 1) % rule.folds: "val"}
    return {group: by_part.get(part, "train") for group, part in parts.items()}


def split_by_hash(group: str, fractions: tuple[float, float, float], seed: int) -> str:
    """Assign a participant by hash; ``fractions`` of train, val and test sum to 1."""
    point, train, val = _point(group, seed), fractions[0], fractions[1]
    return "train" if point < train else "val" if point < train + val else "test"


def stratify(
    counts: Mapping[str, tuple[int, int]], fractions: Sequence[float], seed: int
) -> dict[str, int]:
    """Assign participants to parts so that each part gets about its fraction of both labels.

    ``counts`` holds a participant's number of videos without and with A/H. Participants are
    assigned one by one, those with most videos first and ties in an order set by the seed, each to
    the part that is then closest to its fractions in the chi-squared sense: the greedy rule of
    Sechidis et al. 2011 ("On the stratification of multi-label data") and of scikit-learn's
    StratifiedGroupKFold, for parts of unequal size. The last participants go to parts that are
    still empty: no part with a fraction above 0 stays empty if there are enough participants.
    """
    totals = [sum(count[label] for count in counts.values()) for label in (0, 1)]
    assigned = [[0, 0] for _ in fractions]
    expected = {part for part, fraction in enumerate(fractions) if fraction}
    parts: dict[str, int] = {}
    for group in sorted(counts, key=lambda g: (-sum(counts[g]), _point(g, seed), g)):

        def excess(part: int, count: tuple[int, int] = counts[group]) -> float:
            return sum(
                added * (2 * assigned[part][label] + added) / (fractions[part] * totals[label])
                for label, added in enumerate(count)
                if added
            )

        empty = expected - set(parts.values())
        must_fill_empty = len(counts) - len(parts) <= len(empty)
        parts[group] = min(sorted(empty if must_fill_empty else expected), key=excess)
        for label, added in enumerate(counts[group]):
            assigned[parts[group]][label] += added
    return parts


def _label_counts(videos: Iterable[VideoRecord]) -> dict[str, tuple[int, int]]:
    """Count each participant's videos without and with A/H."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for video in videos:
        counts[group_key(video)][int(video.label == 1 or bool(video.intervals))] += 1
    return {group: (negative, positive) for group, (negative, positive) in counts.items()}


def _is_labeled(video: VideoRecord) -> bool:
    return video.label is not None or bool(video.intervals or video.negative_intervals)


def _point(group: str, seed: int) -> float:
    """Hash a participant to a number in [0, 1)."""
    name = f"{seed}:{group}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") / 2**64
