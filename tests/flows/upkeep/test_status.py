from pathlib import Path

from flows.context.context import open_context
from flows.context.request import RunRequest
from flows.upkeep.status import RejectedCount, current_variants, read_status
from storage.store.journal import write_run
from storage.store.lease import hold_leases
from storage.store.part import read_parts
from storage.store.store import Store
from tests.builders import a_stage_run


def test_items_sizes_and_rejections_are_those_of_the_newest_valid_parts(
    finished: RunRequest,
) -> None:
    context = open_context(finished)
    context.manifest.invalidate(dict.fromkeys([v.video_id for v in context.videos], ""))
    store = Store(finished.store, read_only=True)
    status = read_status(store, current_variants(finished))
    found = {variant.stage: variant for variant in status.variants}
    assert {stage: variant.num_items for stage, variant in found.items()} == {
        "segment": 8, "transcribe": 8, "manifest": 8, "infer": 16, "aggregate": 1,
    }  # fmt: skip
    assert found["infer"].num_rejected == 1
    assert status.rejected == (RejectedCount(stage="infer", reason="damaged", count=1),)
    sizes = [p.stat().st_size for p in Path(finished.store).glob("segment/*/files/**/*.mp4")]
    tables = [p.stat().st_size for p in Path(finished.store).glob("segment/*/*/*.parquet")]
    assert found["segment"].num_bytes == sum(sizes) + sum(tables)
    assert [v.stage for v in status.variants if v.is_current] == [
        "segment", "transcribe", "manifest", "infer",
    ]  # fmt: skip
    assert status.free_bytes


def test_invalidated_items_do_not_count(finished: RunRequest) -> None:
    context = open_context(finished)
    part = next(read_parts(context.store, context.transcribe.path))
    context.transcribe.invalidate(dict(part.items))
    (found,) = [v for v in read_status(context.store, ()).variants if v.stage == "transcribe"]
    assert found.num_items == 8 - len(part.items)


def test_last_runs_and_who_works_are_listed(finished: RunRequest) -> None:
    store = Store(finished.store)
    assert read_status(store, ()).working == ()
    for number in range(7):
        write_run(store, a_stage_run(started_at=1.7e9 + number))
    assert len(read_status(store, ()).runs) == 5
    variant = open_context(finished).segment
    with hold_leases([variant], on_wait=print):
        (working,) = read_status(store, ()).working
    assert working.startswith(f"segment {variant.variant_id}: process ")
    with store.at_work():
        assert len(read_status(store, ()).working) == 1
