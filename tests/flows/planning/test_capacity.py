import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.context.stage_names import STAGES
from flows.planning.capacity import MAX_HOURS, REFERENCE, estimate_capacity
from tests.builders import a_stage_run

HOUR = 3_600_000


def test_a_store_without_a_journal_has_reference_rates_named_as_such() -> None:
    capacity = estimate_capacity([], 10)
    assert [cost.stage for cost in capacity.stages] == list(STAGES)
    assert all(cost.is_reference for cost in capacity.stages)
    segment = capacity.stages[0]
    assert segment.rate.source.startswith("reference")
    assert segment.cpu_seconds == 10 * REFERENCE["segment"].cpu_seconds
    assert "GPU seconds of infer" in capacity.unknown


def test_measured_rates_are_those_of_the_stores_own_runs() -> None:
    runs = [
        a_stage_run(
            stage=stage, video_ms=2 * HOUR, seconds=100.0, cpu_seconds=500.0, num_gpus=gpus,
            bytes_written=4_000,
        )
        for stage, gpus in (("segment", 0), ("infer", 2))
    ]  # fmt: skip
    costs = {cost.stage: cost for cost in estimate_capacity(runs, 10).stages}
    segment, infer = costs["segment"], costs["infer"]
    assert (segment.cpu_seconds, segment.gpu_seconds, segment.num_bytes) == (2_500, 0, 20_000)
    assert infer.gpu_seconds == 10 / 2 * 100 * 2
    assert not segment.is_reference
    assert costs["transcribe"].is_reference


def test_work_on_other_nodes_leaves_cpu_seconds_unknown() -> None:
    capacity = estimate_capacity([a_stage_run(cpu_seconds=None)], 1)
    assert capacity.stages[0].cpu_seconds is None
    assert "CPU seconds of segment" in capacity.unknown


def test_a_short_test_of_another_model_does_not_hide_the_rate_of_the_main_one() -> None:
    test = a_stage_run(variant_id="test", video_ms=HOUR // 100, cpu_seconds=9_999.0)
    main = a_stage_run(variant_id="main", video_ms=100 * HOUR, cpu_seconds=100.0)
    assert estimate_capacity([test, main], 1).stages[0].cpu_seconds == pytest.approx(1)


@given(st.floats(1e-3, MAX_HOURS), st.floats(1.1, 100))
def test_costs_grow_with_the_hours_and_totals_leave_out_training(hours, factor) -> None:
    runs = [a_stage_run(stage=stage, video_ms=HOUR) for stage in STAGES]
    less, more = (estimate_capacity(runs, amount) for amount in (hours, hours * factor))
    assert more.cpu_seconds == pytest.approx(factor * less.cpu_seconds)
    counted = [cost.num_bytes for cost in less.stages if cost.stage != "finetune"]
    assert less.num_bytes == pytest.approx(sum(counted))
    assert not less.unknown
