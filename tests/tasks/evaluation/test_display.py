from typing import get_args

import pytest

from tasks.evaluation.baselines import BASELINES
from tasks.evaluation.display import (
    METHOD_NAMES,
    METRIC_NAMES,
    REPORT_SPLITS,
    SPLIT_NAMES,
    format_fraction,
    format_interval,
)
from tasks.evaluation.metrics import METRICS
from tasks.evaluation.pooling import PoolingRule
from tasks.evaluation.rows import SPLITS
from tests.builders import a_metric


def test_all_methods_metrics_and_splits_have_display_names() -> None:
    assert set(METHOD_NAMES) == {*get_args(PoolingRule), *BASELINES, "segment"}
    assert set(METRIC_NAMES) == set(METRICS)
    assert set(SPLIT_NAMES) == set(REPORT_SPLITS) == set(SPLITS)


@pytest.mark.parametrize(
    ("value", "text"), [(0.8344, ".834"), (1.0, "1.000"), (0.0, ".000"), (None, "–")]
)
def test_fractions_have_no_leading_zero_and_undefined_is_a_dash(value: float, text: str) -> None:
    assert format_fraction(value) == text


def test_a_missing_interval_is_formatted_as_an_empty_string() -> None:
    known = a_metric(low=0.705, high=1.0)
    assert format_interval(known) in (".70–1.00", ".71–1.00")
    assert format_interval(a_metric()) == ""
    assert format_interval(None) == ""
