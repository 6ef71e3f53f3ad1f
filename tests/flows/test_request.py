"""Which stages a request runs."""

import pytest
from pydantic import ValidationError

from flows.request import STAGES, RunRequest


def test_all_stages_run_in_order_by_default() -> None:
    assert RunRequest(data="d").stages() == STAGES


def test_from_runs_that_stage_and_the_later_ones() -> None:
    assert RunRequest(data="d", start_at="infer").stages() == ("infer", "aggregate")


def test_only_runs_the_named_stages_in_pipeline_order() -> None:
    request = RunRequest(data="d", only=("aggregate", "segment"))
    assert request.stages() == ("segment", "aggregate")


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValidationError):
        RunRequest.model_validate({"data": "d", "only": ["segmnt"]})
