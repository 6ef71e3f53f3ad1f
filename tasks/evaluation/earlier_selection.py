"""The pooling rule and thresholds that an earlier run chose on validation for the same model.

Without validation labels nothing can be chosen. But the run that trained the model, or evaluated it
on labeled videos, may have chosen a pooling rule and thresholds: they are in the same store, in a
report variant downstream of this model's variant of predictions.
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
_SELECTION_SETTINGS = ("pooling_rules", "top_k", "choose_by", "threshold_rule", "plateau_tolerance")

_SETTINGS_UNKNOWN = (
    "The segment and transcript settings of the run that chose the threshold are no longer known."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSelection:
    """The thresholds of an earlier report, of every method.

    ``report_path`` is the report's variant. ``caveat`` lists how that run's segmentation or
    transcription settings differ from the current ones.
    """

    report_path: str
    thresholds: tuple[ThresholdRecord, ...]
    caveat: str | None = None

    @property
    def rule(self) -> ThresholdRecord:
        """The chosen pooling rule with its threshold."""
        return next(row for row in self.thresholds if row.chosen)

    @property
    def origin(self) -> str:
        """Which run chose it, and its metrics there."""
        rule = self.rule
        metrics = [f"{METRIC_NAMES[rule.score_name]} {format_fraction(rule.score)}"]
        if rule.average_precision is not None and rule.score_name != "average_precision":
            metrics.append(f"average precision {format_fraction(rule.average_precision)}")
        return (
            "chosen by an earlier run with this model "
            f"({self.report_path}: {' and '.join(metrics)} there)"
        )


def can_select(samples: Sequence[SampleRecord], predictions: Sequence[PredictionRecord]) -> bool:
    """Return whether validation has predicted videos of both labels to choose thresholds on."""
    predicted = {row.video_id for row in predictions}
    labels = {
        sample.video_label
        for sample in samples
        if sample.split == "val" and sample.video_id in predicted
    }
    return {0, 1} <= labels


def find_earlier_selection(
    infer: Variant, settings: Mapping[str, Any], upstream_variants: Sequence[Variant]
) -> EarlierSelection | None:
    """Return the newest selection on validation for the model of these predictions, if any.

    ``settings`` are those of the aggregate stage; only runs that chose with the same ones count.
    ``upstream_variants`` are the current variants of segments and, where the model reads them, of
    transcripts. The earlier run's may differ: validation videos always have fixed boundaries, but
    other segment lengths or transcripts pool to other probabilities.
    """
    store, found = infer.store, list[tuple[Part, EarlierSelection]]()
    for path, manifest_id in _reports_downstream(store, infer.variant_id, settings):
        for part in read_parts(store, path):
            rows = tuple(read_rows(store, path, part, ThresholdRecord))
            if any(row.chosen and row.score is not None for row in rows):
                caveat = _caveat(store, manifest_id, upstream_variants)
                selection = EarlierSelection(report_path=path, thresholds=rows, caveat=caveat)
                found.append((part, selection))
    newest = max(found, key=lambda pair: (pair[0].created_ns, pair[0].part_id), default=None)
    return None if newest is None else newest[1]


def _reports_downstream(
    store: Store, infer_id: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the report variants of these predictions with the same selection settings.

    Each comes with the id of its manifest variant.
    """
    for file in store.fs.glob(store.full_path(f"{_STAGE}/*/variant.json")):
        path = f"{_STAGE}/{file.rsplit('/', 2)[1]}"
        identity = _identity(store, path)
        if identity is None or identity["upstream"][-1] != infer_id:
            continue
        if all(identity["settings"].get(name) == settings[name] for name in _SELECTION_SETTINGS):
            yield path, identity["upstream"][0]


def _caveat(store: Store, manifest_id: str, upstream_variants: Sequence[Variant]) -> str | None:
    """Return how an earlier run's segments or transcripts differ from the current ones."""
    manifest = _identity(store, f"manifest/{manifest_id}")
    if manifest is None:
        return _SETTINGS_UNKNOWN
    differences: list[str] = []
    for current, earlier_id in zip(upstream_variants, manifest["upstream"], strict=False):
        then = _identity(store, f"{current.stage}/{earlier_id}")
        now = _identity(store, current.path)
        if then is None or now is None:
            return _SETTINGS_UNKNOWN
        differences += _differences(current.stage, then["settings"], now["settings"])
    if not differences:
        return None
    return (
        "The threshold may not fit: it was chosen on segments made with other settings "
        f"({', '.join(differences)})."
    )


def _differences(stage: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{stage}.{name}={then.get(name)}, now {now.get(name)}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _identity(store: Store, path: str) -> dict[str, Any] | None:
    return store.parsed(f"{path}/variant.json", json.loads)
