import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.erased import mark_erased
from storage.erasure.erase import erase_participant, find_traces
from storage.errors import ItemFault, StageError, StoreError, ToolError
from storage.records import RejectedRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.stage import (
    Shard,
    ShardResult,
    as_state,
    compute_missing,
    or_rejected,
    split_into_shards,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str


UNEXPECTED = r"unexpected {} in fail \(test_stage.py, line \d+\): report this line, .*"
EXPECTED = {f"item {n}": "1" for n in range(6)}


@pytest.fixture
def variant(tmp_path) -> Variant:
    return open_variant(Store(str(tmp_path)), "toy", version=1, settings={})


def outputs(items: Sequence[str]) -> Iterator[ItemOutput]:
    for item in items:
        yield ItemOutput(item_id=item, rows=(Row(name=item),))


def whole(**changes: str) -> Shard:
    return Shard(name="1 of 1", expected=EXPECTED | changes)


@given(st.dictionaries(st.text(), st.text(), max_size=40), st.integers(1, 50))
def test_shards_contain_every_item_once_in_order(expected, size):
    shards = split_into_shards(expected, size)
    items = [pair for shard in shards for pair in shard.expected.items()]
    assert items == list(expected.items())
    assert all(len(shard.expected) == size for shard in shards[:-1])
    assert all(shard.expected for shard in shards)
    count = len(shards)
    assert [shard.name for shard in shards] == [f"{n + 1} of {count}" for n in range(count)]


def test_second_run_computes_nothing_and_is_cached(variant):
    first = compute_missing(variant, whole(), outputs)
    assert (first.num_cached, first.num_computed) == (0, 6)
    assert as_state(first).name == "Completed"

    def unexpected(items):
        raise AssertionError(f"unexpected call with {items}")

    second = compute_missing(variant, whole(), unexpected)
    assert (second.num_cached, second.num_computed) == (6, 0)
    state = as_state(second)
    assert state.name == "Cached"
    assert state.is_completed()


def test_only_missing_items_are_computed_in_order(variant):
    compute_missing(variant, Shard(name="", expected={"item 2": "1", "item 4": "1"}), outputs)
    requested = []

    def compute(items):
        requested.extend(items)
        return outputs(items)

    result = compute_missing(variant, whole(added="1"), compute)
    assert requested == ["item 0", "item 1", "item 3", "item 5", "added"]
    assert result == ShardResult(num_cached=2, num_computed=5)


def test_items_are_committed_as_time_passes(variant):
    num_committed = []

    def compute(items):
        for output in outputs(items):
            num_committed.append(len(variant.finished(EXPECTED)))
            yield output

    compute_missing(variant, whole(), compute, commit_seconds=0)
    assert num_committed == [0, 1, 2, 3, 4, 5]
    assert len(variant.store.list_files(f"{variant.path}/done")) == 6


def test_items_that_finish_quickly_are_committed_together(variant):
    compute_missing(variant, whole(), outputs, commit_seconds=3_600)
    assert len(variant.store.list_files(f"{variant.path}/done")) == 1


def test_items_finished_before_a_failure_are_kept(variant):
    def compute(items):
        yield from outputs(items[:4])
        raise StageError("the model died")

    with pytest.raises(StageError, match="the model died"):
        compute_missing(variant, whole(), compute, commit_seconds=3_600)
    assert variant.pending(EXPECTED) == ["item 4", "item 5"]


def test_failed_commit_is_raised_unchanged(variant, monkeypatch):
    def fail(self, outputs, expected):
        raise StoreError("No space left")

    monkeypatch.setattr(Variant, "commit", fail)
    with pytest.raises(StoreError, match="No space left"):
        compute_missing(variant, whole(), outputs, commit_seconds=0)


def test_no_participant_is_erased_while_items_are_computed(variant):
    def erase():
        erase_participant(variant.store, find_traces(variant.store, "12"))

    def compute(items):
        for output in outputs(items):
            with pytest.raises(StoreError, match="Another process, such as a run, is writing"):
                erase()
            yield output

    compute_missing(variant, whole(), compute, commit_seconds=0)
    assert variant.pending(EXPECTED) == []
    erase()


def test_participant_erased_meanwhile_is_not_written_again(variant):
    """Erased by another node, in a remote store, where running writers are unknown."""

    def compute(items):
        yield from outputs(items[:2])
        mark_erased(variant.store, "12")
        yield from outputs(items[2:])

    with pytest.raises(StageError, match="erased during this run"):
        compute_missing(variant, whole(), compute, commit_seconds=0)
    assert variant.pending(EXPECTED) == [f"item {n}" for n in range(2, 6)]
    compute_missing(variant, whole(), outputs)
    assert variant.pending(EXPECTED) == []


def test_valid_item_is_returned():
    output = ItemOutput(item_id="a", rows=())
    assert or_rejected("toy", "a", lambda: output) is output


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ItemFault("truncated: half of it is missing"), "truncated: half of it is missing"),
        (ValueError("quoting Ann"), UNEXPECTED.format("ValueError")),
        (KeyError("Ann"), UNEXPECTED.format("KeyError")),
    ],
)
def test_fault_of_an_item_becomes_its_rejected_row(variant, error, reason):
    def fail():
        raise error

    def compute(items):
        yield or_rejected("toy", "item 0", fail)
        yield from outputs(items[1:])

    compute_missing(variant, whole(), compute)
    (rejected,) = variant.read(RejectedRecord, EXPECTED)
    assert (rejected.item_id, rejected.stage) == ("item 0", "toy")
    assert re.fullmatch(reason, rejected.reason)
    assert variant.pending(EXPECTED) == []
    assert len(variant.read(Row, EXPECTED)) == 5


@pytest.mark.parametrize(
    "error", [ToolError("no ffmpeg"), StoreError("full"), OSError(28, "full"), MemoryError()]
)
def test_fault_of_the_host_is_never_stored_as_an_items(error):
    def fail():
        raise error

    with pytest.raises(type(error)):
        or_rejected("toy", "a", fail)


def test_progress_never_names_an_item(variant, caplog):
    with caplog.at_level(logging.DEBUG):
        compute_missing(variant, whole(), outputs)
    assert "item" not in caplog.text
