"""The threshold that an earlier run chose on validation for the very model that is asked now.

Where videos have no labels nothing can be chosen on them. But the run that trained a model, or that
measured it on labelled videos, may have chosen a pooling rule and its threshold: they stand in the
same store, under the variant of predictions that this model makes with these settings.
"""

import json
from collections.abc import Iterator
from typing import Any

from storage.part import Part, read_parts, read_rows
from storage.results import ThresholdRecord
from storage.store import Store
from storage.variant import Variant

_STAGE = "aggregate"
_DECIDING = ("pooling_rules", "top_k", "choose_by", "threshold_rule", "plateau_tolerance")


def chosen_earlier(infer: Variant, settings: dict[str, Any]) -> ThresholdRecord | None:
    """Find the newest rule chosen on validation for these predictions' model, if there is one.

    ``settings`` are those of the aggregate stage: a rule that was chosen by others is another rule.
    """
    store, found = infer.store, list[tuple[Part, ThresholdRecord]]()
    for path in _variants_above(store, infer.variant_id, settings):
        for part in read_parts(store, path):
            rows = read_rows(store, path, part, ThresholdRecord)
            found += [(part, row) for row in rows if row.chosen and row.score is not None]
    newest = max(found, key=lambda pair: (pair[0].created_ns, pair[0].part_id), default=None)
    return None if newest is None else newest[1]


def _variants_above(store: Store, infer_id: str, settings: dict[str, Any]) -> Iterator[str]:
    """List the variants of reports that stand on these predictions and were made alike."""
    for place in store.fs.glob(store.full_path(f"{_STAGE}/*/variant.json")):
        path = f"{_STAGE}/{place.rsplit('/', 2)[1]}"
        identity = store.parsed(f"{path}/variant.json", json.loads)
        if identity is None or identity["upstream"][-1] != infer_id:
            continue
        if all(identity["settings"].get(name) == settings[name] for name in _DECIDING):
            yield path
