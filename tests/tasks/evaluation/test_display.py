from typing import get_args

import pytest

from tasks.evaluation.baselines import BASELINES
from tasks.evaluation.display import (
    FIGURE_NAMES,
    METHOD_NAMES,
    REPORT_SPLITS,
    SPLIT_NAMES,
    interval,
    share,
)
from tasks.evaluation.metrics import METRIC_NAMES
from tasks.evaluation.pooling import PoolingRule
from tasks.evaluation.rows import SPLITS
from tests.builders import a_metric


def test_everything_that_can_be_shown_has_a_name() -> None:
    assert set(METHOD_NAMES) == {*get_args(PoolingRule), *BASELINES, "segment"}
    assert set(FIGURE_NAMES) == set(METRIC_NAMES)
    assert set(SPLIT_NAMES) == set(REPORT_SPLITS) == set(SPLITS)


@pytest.mark.parametrize(
    ("value", "text"), [(0.8344, ".834"), (1.0, "1.000"), (0.0, ".000"), (None, "–")]
)
def test_figures_are_written_short_and_undefined_is_a_dash(value: float, text: str) -> None:
    assert share(value) == text


def test_an_interval_is_written_only_where_there_is_one() -> None:
    known = a_metric(low=0.705, high=1.0)
    assert interval(known) in (".70–1.00", ".71–1.00")
    assert interval(a_metric()) == ""
    assert interval(None) == ""
