from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.planning.rates import fit_rate, hours_of, items_of, runs_of
from tests.builders import a_stage_run


def seconds_of(run) -> float:
    return run.seconds


def test_without_runs_that_did_something_there_is_no_rate() -> None:
    assert fit_rate([], items_of, seconds_of) is None
    assert fit_rate([a_stage_run(video_ms=0)], hours_of, seconds_of) is None
    assert fit_rate([a_stage_run()], items_of, lambda _: None) is None


@given(
    fixed=st.floats(1, 1e4), per_item=st.floats(0.01, 1e3),
    counts=st.lists(st.integers(1, 10_000), min_size=2, max_size=20, unique=True),
)  # fmt: skip
def test_a_fixed_cost_and_a_cost_per_item_are_separated(fixed, per_item, counts) -> None:
    runs = [a_stage_run(num_computed=n, seconds=fixed + per_item * n) for n in counts]
    rate = fit_rate(runs, items_of, seconds_of)
    assert rate is not None
    if max(counts) >= 2 * min(counts):
        assert rate.fixed == pytest.approx(fixed, rel=1e-3, abs=1e-3 * max(r.seconds for r in runs))
        assert rate.per_unit == pytest.approx(per_item, rel=0.05, abs=1e-3 * fixed)
    else:
        assert rate.fixed == 0


@given(st.lists(st.tuples(st.integers(1, 1_000), st.floats(0, 1e5)), min_size=1, max_size=20))
def test_a_rate_never_predicts_less_than_nothing_and_grows_with_the_work(points) -> None:
    runs = [a_stage_run(num_computed=n, seconds=seconds) for n, seconds in points]
    rate = fit_rate(runs, items_of, seconds_of)
    assert rate is not None
    assert rate.num_runs == len(points)
    assert rate.cost_of(0) == 0
    assert 0 <= rate.cost_of(1) <= rate.cost_of(10) <= rate.cost_of(1_000_000)


def test_runs_of_the_same_variant_count_and_those_of_the_stage_only_without_them() -> None:
    own, other = a_stage_run(variant_id="own"), a_stage_run(variant_id="other")
    mean = replace(other, video_ms=0)
    elsewhere = replace(own, stage="infer")
    runs = [own, other, mean, elsewhere]
    assert runs_of(runs, "segment", "own") == [own]
    assert runs_of(runs, "segment", "new") == [own, other]
    assert runs_of(runs, "aggregate", "own") == []
