"""What an earlier run chose on validation for the very model that is asked now.

Where validation is not labelled nothing can be chosen on it. But the run that trained a model, or
that measured it on labelled videos, may have chosen a pooling rule and thresholds: they stand in
the same store, under the variant of predictions that this model makes with these settings.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.part import Part, read_parts, read_rows
from storage.records import SampleRecord
from storage.results import PredictionRecord, ThresholdRecord
from storage.store import Store
from storage.variant import Variant
from tasks.verdicts.wording import FIGURE_NAMES, share

_STAGE = "aggregate"
_DECIDING = ("pooling_rules", "top_k", "choose_by", "threshold_rule", "plateau_tolerance")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierChoice:
    """The thresholds of an earlier report, of every method, and which of its variants it is in.

    ``caveat`` says in what that run cut its videos otherwise, if it did.
    """

    report_path: str
    thresholds: tuple[ThresholdRecord, ...]
    caveat: str | None = None

    @property
    def rule(self) -> ThresholdRecord:
        """The pooling rule that was chosen, with its threshold."""
        return next(row for row in self.thresholds if row.chosen)

    @property
    def origin(self) -> str:
        """Where it was chosen, and how good it was there."""
        rule = self.rule
        figures = [f"{FIGURE_NAMES[rule.score_name]} {share(rule.score)}"]
        if rule.average_precision is not None and rule.score_name != "average_precision":
            figures.append(f"average precision {share(rule.average_precision)}")
        told = " and ".join(figures)
        return f"chosen by an earlier run with this model ({self.report_path}: {told} there)"


def can_choose(samples: Sequence[SampleRecord], predictions: Sequence[PredictionRecord]) -> bool:
    """Say whether validation has answered videos of both labels, on which a run can choose."""
    answered = {row.video_id for row in predictions}
    labels = {
        sample.video_label
        for sample in samples
        if sample.split == "val" and sample.video_id in answered
    }
    return {0, 1} <= labels


def chosen_earlier(
    infer: Variant, settings: Mapping[str, Any], segment: Variant
) -> EarlierChoice | None:
    """Find the newest choice on validation for these predictions' model, if there is one.

    ``settings`` are those of the aggregate stage: a rule that was chosen by others is another rule.
    ``segment`` is today's variant of segments. The earlier run's may be another: validation is
    never cut at annotated bounds, but segments of another length pool to other probabilities.
    """
    store, found = infer.store, list[tuple[Part, EarlierChoice]]()
    for path, manifest_id in _reports_above(store, infer.variant_id, settings):
        for part in read_parts(store, path):
            rows = tuple(read_rows(store, path, part, ThresholdRecord))
            if any(row.chosen and row.score is not None for row in rows):
                caveat = _cut_otherwise(store, manifest_id, segment)
                choice = EarlierChoice(report_path=path, thresholds=rows, caveat=caveat)
                found.append((part, choice))
    newest = max(found, key=lambda pair: (pair[0].created_ns, pair[0].part_id), default=None)
    return None if newest is None else newest[1]


def _reports_above(
    store: Store, infer_id: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """List the variants of reports that stand on these predictions and were made alike.

    Each comes with the variant of samples that it stands on, too.
    """
    for place in store.fs.glob(store.full_path(f"{_STAGE}/*/variant.json")):
        path = f"{_STAGE}/{place.rsplit('/', 2)[1]}"
        identity = _identity(store, path)
        if identity is None or identity["upstream"][-1] != infer_id:
            continue
        if all(identity["settings"].get(name) == settings[name] for name in _DECIDING):
            yield path, identity["upstream"][0]


def _cut_otherwise(store: Store, manifest_id: str, segment: Variant) -> str | None:
    """Say in what the videos of an earlier run were cut otherwise than by today's variant."""
    manifest = _identity(store, f"manifest/{manifest_id}")
    earlier = _identity(store, f"segment/{manifest['upstream'][0]}") if manifest else None
    today = _identity(store, segment.path)
    if earlier is None or today is None:
        return "How the run that chose the threshold cut its videos is not known any more."
    then, now = earlier["settings"], today["settings"]
    told = ", ".join(
        f"segment.{name}={then.get(name)}, now {now.get(name)}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    )
    if not told:
        return None
    return f"The run that chose the threshold cut its videos otherwise ({told}): it may not fit."


def _identity(store: Store, path: str) -> dict[str, Any] | None:
    return store.parsed(f"{path}/variant.json", json.loads)
