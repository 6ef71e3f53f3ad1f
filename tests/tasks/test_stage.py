import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.erased import remember_to_leave_out
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
def test_shards_hold_every_item_once_in_order(expected, size):
    shards = split_into_shards(expected, size)
    dealt = [pair for shard in shards for pair in shard.expected.items()]
    assert dealt == list(expected.items())
    assert all(len(shard.expected) == size for shard in shards[:-1])
    assert all(shard.expected for shard in shards)
    count = len(shards)
    assert [shard.name for shard in shards] == [f"{n + 1} of {count}" for n in range(count)]


def test_a_second_run_makes_nothing_and_says_cached(variant):
    first = compute_missing(variant, whole(), outputs)
    assert (first.num_cached, first.num_computed) == (0, 6)
    assert as_state(first).name == "Completed"

    def unexpected(items):
        raise AssertionError(f"asked to make {items}")

    second = compute_missing(variant, whole(), unexpected)
    assert (second.num_cached, second.num_computed) == (6, 0)
    state = as_state(second)
    assert state.name == "Cached"
    assert state.is_completed()


def test_only_the_missing_items_are_asked_for_in_order(variant):
    compute_missing(variant, Shard(name="", expected={"item 2": "1", "item 4": "1"}), outputs)
    asked = []

    def make(items):
        asked.extend(items)
        return outputs(items)

    result = compute_missing(variant, whole(added="1"), make)
    assert asked == ["item 0", "item 1", "item 3", "item 5", "added"]
    assert result == ShardResult(num_cached=2, num_computed=5)


def test_items_are_committed_as_time_passes(variant):
    seen = []

    def make(items):
        for output in outputs(items):
            seen.append(len(variant.finished(EXPECTED)))
            yield output

    compute_missing(variant, whole(), make, commit_seconds=0)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert len(variant.store.list_files(f"{variant.path}/done")) == 6


def test_items_that_come_quickly_are_one_part(variant):
    compute_missing(variant, whole(), outputs, commit_seconds=3_600)
    assert len(variant.store.list_files(f"{variant.path}/done")) == 1


def test_what_was_finished_before_a_failure_is_kept(variant):
    def make(items):
        yield from outputs(items[:4])
        raise StageError("the model died")

    with pytest.raises(StageError, match="the model died"):
        compute_missing(variant, whole(), make, commit_seconds=3_600)
    assert variant.pending(EXPECTED) == ["item 4", "item 5"]


def test_a_failed_commit_is_told_as_it_is(variant, monkeypatch):
    def refuse(self, outputs, expected):
        raise StoreError("No space left")

    monkeypatch.setattr(Variant, "commit", refuse)
    with pytest.raises(StoreError, match="No space left"):
        compute_missing(variant, whole(), outputs, commit_seconds=0)


def test_while_items_are_made_nobody_is_forgotten(variant):
    def invalidate():
        erase_participant(variant.store, find_traces(variant.store, "12"))

    def make(items):
        for output in outputs(items):
            with pytest.raises(StoreError, match="Another process is writing"):
                invalidate()
            yield output

    compute_missing(variant, whole(), make, commit_seconds=0)
    assert variant.pending(EXPECTED) == []
    invalidate()


def test_who_was_forgotten_meanwhile_all_the_same_is_not_written_again(variant):
    """As by another machine, in a remote store, where nobody can tell who writes."""

    def make(items):
        yield from outputs(items[:2])
        remember_to_leave_out(variant.store, "12")
        yield from outputs(items[2:])

    with pytest.raises(StageError, match="forgotten while this run was going on"):
        compute_missing(variant, whole(), make, commit_seconds=0)
    assert variant.pending(EXPECTED) == [f"item {n}" for n in range(2, 6)]
    compute_missing(variant, whole(), outputs)
    assert variant.pending(EXPECTED) == []


def test_a_good_item_is_passed_on():
    made = ItemOutput(item_id="a", rows=())
    assert or_rejected("toy", "a", lambda: made) is made


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ItemFault("truncated: half of it is gone"), "truncated: half of it is gone"),
        (ValueError("what Ann said"), r"unforeseen ValueError in fail \(test_stage.py, line \d+\)"),
        (KeyError("Ann"), r"unforeseen KeyError in fail \(test_stage.py, line \d+\)"),
    ],
)
def test_an_items_own_fault_becomes_its_rejected_row(variant, error, reason):
    def fail():
        raise error

    def make(items):
        yield or_rejected("toy", "item 0", fail)
        yield from outputs(items[1:])

    compute_missing(variant, whole(), make)
    (rejected,) = variant.read(RejectedRecord, EXPECTED)
    assert (rejected.item_id, rejected.stage) == ("item 0", "toy")
    assert re.fullmatch(reason, rejected.reason)
    assert variant.pending(EXPECTED) == []
    assert len(variant.read(Row, EXPECTED)) == 5


@pytest.mark.parametrize(
    "error", [ToolError("no ffmpeg"), StoreError("full"), OSError(28, "full"), MemoryError()]
)
def test_a_machines_trouble_is_never_written_down_as_an_items(error):
    def fail():
        raise error

    with pytest.raises(type(error)):
        or_rejected("toy", "a", fail)


def test_progress_never_names_an_item(variant, caplog):
    with caplog.at_level(logging.DEBUG):
        compute_missing(variant, whole(), outputs)
    assert "item" not in caplog.text
