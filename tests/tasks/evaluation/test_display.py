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


def test_everything_that_can_be_shown_has_a_name() -> None:
    assert set(METHOD_NAMES) == {*get_args(PoolingRule), *BASELINES, "segment"}
    assert set(METRIC_NAMES) == set(METRICS)
    assert set(SPLIT_NAMES) == set(REPORT_SPLITS) == set(SPLITS)


@pytest.mark.parametrize(
    ("value", "text"), [(0.8344, ".834"), (1.0, "1.000"), (0.0, ".000"), (None, "–")]
)
def test_figures_are_written_short_and_undefined_is_a_dash(value: float, text: str) -> None:
    assert format_fraction(value) == text


def test_an_interval_is_written_only_where_there_is_one() -> None:
    known = a_metric(low=0.705, high=1.0)
    assert format_interval(known) in (".70–1.00", ".71–1.00")
    assert format_interval(a_metric()) == ""
    assert format_interval(None) == ""
