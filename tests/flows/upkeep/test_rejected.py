import pytest

from flows.context.context import open_context
from flows.context.request import RunRequest
from flows.planning.plan import plan_run
from flows.upkeep.rejected import find_rejected, invalidate_rejected
from flows.upkeep.status import current_variants
from storage.errors import ItemFault, TransientFault
from storage.store.store import Store
from tasks.stage import or_rejected
from tests.flows.toys import videos_of

PERMANENT, TIMED_OUT, UNFORESEEN = (
    videos_of("90001")[0],
    videos_of("90002")[0],
    videos_of("90003")[0],
)


def reject(request: RunRequest) -> None:
    """Let the manifest reject three videos, as its stage does."""
    faults = {
        PERMANENT: ItemFault("no video stream"),
        TIMED_OUT: TransientFault("decoding timed out after 60 s"),
        UNFORESEEN: ZeroDivisionError("private text"),
    }

    def fail(error: Exception):
        raise error

    context = open_context(request)
    owners = {item: part.items for item, part in _owners(context).items()}
    expected = {item: owners[item][item] for item in faults}
    outputs = [
        or_rejected("manifest", item, lambda error=error: fail(error))
        for item, error in faults.items()
    ]
    context.manifest.commit(outputs, expected)


def _owners(context):
    from flows.context.rows import read_manifest

    return context.look(context.manifest, read_manifest(context).expected).owners


def test_rejected_items_are_found_by_stage_and_reason(finished: RunRequest) -> None:
    reject(finished)
    store = Store(finished.store, read_only=True)
    found = {row.item_id: row for row in find_rejected(store, stages=["manifest"])}
    assert {item: row.may_pass for item, row in found.items()} == {
        PERMANENT: False, TIMED_OUT: True, UNFORESEEN: True,
    }  # fmt: skip
    assert "private" not in found[UNFORESEEN].reason
    assert [row.item_id for row in find_rejected(store, text="TIMED out")] == [TIMED_OUT]
    assert [row.stage for row in find_rejected(store, stages=["infer"])] == ["infer"]
    assert find_rejected(store, variants=[]) == []


def test_only_those_whose_reason_may_pass_are_computed_again(finished: RunRequest) -> None:
    reject(finished)
    store = Store(finished.store)
    rejected = find_rejected(store, variants=current_variants(finished))
    assert len(rejected) == 4
    assert invalidate_rejected(store, rejected) == 2
    manifest = plan_run(finished).stages[2]
    assert manifest.num_missing == 2
    left = {row.item_id for row in find_rejected(store, stages=["manifest"])}
    assert left == {PERMANENT}
    assert invalidate_rejected(store, find_rejected(store)) == 0


@pytest.mark.parametrize(
    ("fault", "may_pass"),
    [(ItemFault("encrypted"), False), (TransientFault("timed out"), True), (KeyError("x"), True)],
)
def test_the_origin_of_a_fault_decides(fault: Exception, may_pass: bool) -> None:
    def fail():
        raise fault

    assert len(or_rejected("segment", "a.mp4", fail).rows) == 1 + may_pass
