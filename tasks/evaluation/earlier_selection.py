"""What an earlier run chose on validation for the very model that is asked now.

Where validation is not labelled nothing can be chosen on it. But the run that trained a model, or
that measured it on labelled videos, may have chosen a pooling rule and thresholds: they stand in
the same store, under the variant of predictions that this model makes with these settings.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.records import SampleRecord
from storage.results import PredictionRecord, ThresholdRecord
from storage.store.part import Part, read_parts, read_rows
from storage.store.store import Store
from storage.store.variant import Variant
from tasks.evaluation.display import METRIC_NAMES, format_fraction

_STAGE = "aggregate"
_DECIDING = ("pooling_rules", "top_k", "choose_by", "threshold_rule", "plateau_tolerance")

_NOT_KNOWN = "How the run that chose the threshold made its segments is not known any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSelection:
    """The thresholds of an earlier report, of every method, and which of its variants it is in.

    ``caveat`` says in what that run cut or transcribed its videos otherwise, if it did.
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
        figures = [f"{METRIC_NAMES[rule.score_name]} {format_fraction(rule.score)}"]
        if rule.average_precision is not None and rule.score_name != "average_precision":
            figures.append(f"average precision {format_fraction(rule.average_precision)}")
        message = " and ".join(figures)
        return f"chosen by an earlier run with this model ({self.report_path}: {message} there)"


def can_select(samples: Sequence[SampleRecord], predictions: Sequence[PredictionRecord]) -> bool:
    """Say whether validation has answered videos of both labels, on which a run can choose."""
    answered = {row.video_id for row in predictions}
    labels = {
        sample.video_label
        for sample in samples
        if sample.split == "val" and sample.video_id in answered
    }
    return {0, 1} <= labels


def find_earlier_selection(
    infer: Variant, settings: Mapping[str, Any], upstream_variants: Sequence[Variant]
) -> EarlierSelection | None:
    """Find the newest choice on validation for these predictions' model, if there is one.

    ``settings`` are those of the aggregate stage: a rule that was chosen by others is another rule.
    ``upstream_variants`` are today's variants of segments and, where the model reads them, of transcripts.
    The earlier run's may be others: validation is never cut at annotated bounds, but segments of
    another length, or other words, pool to other probabilities.
    """
    store, found = infer.store, list[tuple[Part, EarlierSelection]]()
    for path, manifest_id in _reports_above(store, infer.variant_id, settings):
        for part in read_parts(store, path):
            rows = tuple(read_rows(store, path, part, ThresholdRecord))
            if any(row.chosen and row.score is not None for row in rows):
                caveat = _made_otherwise(store, manifest_id, upstream_variants)
                choice = EarlierSelection(report_path=path, thresholds=rows, caveat=caveat)
                found.append((part, choice))
    newest = max(found, key=lambda pair: (pair[0].created_ns, pair[0].part_id), default=None)
    return None if newest is None else newest[1]


def _reports_above(
    store: Store, infer_id: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """List the variants of reports that stand on these predictions and were made alike.

    Each comes with the variant of samples that it stands on, too.
    """
    for location in store.fs.glob(store.full_path(f"{_STAGE}/*/variant.json")):
        path = f"{_STAGE}/{location.rsplit('/', 2)[1]}"
        identity = _identity(store, path)
        if identity is None or identity["upstream"][-1] != infer_id:
            continue
        if all(identity["settings"].get(name) == settings[name] for name in _DECIDING):
            yield path, identity["upstream"][0]


def _made_otherwise(
    store: Store, manifest_id: str, upstream_variants: Sequence[Variant]
) -> str | None:
    """Say in what an earlier run's segments or words were made otherwise than today's."""
    manifest = _identity(store, f"manifest/{manifest_id}")
    message: list[str] = []
    for today, earlier_id in zip(
        upstream_variants, manifest["upstream"] if manifest else (), strict=False
    ):
        then = _identity(store, f"{today.stage}/{earlier_id}")
        now = _identity(store, today.path)
        if then is None or now is None:
            return _NOT_KNOWN
        message += _differences(today.stage, then["settings"], now["settings"])
    if manifest is None:
        return _NOT_KNOWN
    if not message:
        return None
    return (
        "The run that chose the threshold made its segments otherwise "
        f"({', '.join(message)}): it may not fit."
    )


def _differences(stage: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{stage}.{name}={then.get(name)}, now {now.get(name)}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _identity(store: Store, path: str) -> dict[str, Any] | None:
    return store.parsed(f"{path}/variant.json", json.loads)
