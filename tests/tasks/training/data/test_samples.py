from collections import Counter
from dataclasses import replace
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StageError
from storage.store.store import Store
from tasks.prompting.model_input import InputConfig
from tasks.training.data.decoding import MediaRows, reading_threads
from tasks.training.data.samples import (
    RowReader,
    SampleOrder,
    by_length,
    collate,
    num_positions,
    num_tokens,
    pieces,
)

labels_of_both = st.lists(st.integers(0, 1), min_size=2, max_size=40).filter(
    lambda labels: len(set(labels)) == 2
)


def drawn(order: SampleOrder, num_steps: int) -> list[int]:
    return list(chain.from_iterable(order.batch(step) for step in range(1, num_steps + 1)))


@given(labels=labels_of_both, batch_size=st.integers(1, 9), seed=st.integers(0, 5))
def test_balanced_batches_hold_both_labels_equally_often(labels, batch_size, seed):
    order = SampleOrder(labels, batch_size=batch_size, seed=seed, balanced=True)
    counts = Counter(labels[index] for index in drawn(order, 12))
    assert abs(counts[0] - counts[1]) <= 1


@given(labels=labels_of_both, seed=st.integers(0, 5))
def test_every_sample_of_a_class_is_seen_before_one_is_seen_twice(labels, seed):
    order = SampleOrder(labels, batch_size=2, seed=seed, balanced=True)
    for label in (0, 1):
        members = [index for index, found in enumerate(labels) if found == label]
        seen = [index for index in drawn(order, 3 * len(members)) if labels[index] == label]
        for start in range(0, len(seen), len(members)):
            assert sorted(seen[start : start + len(members)]) == members


@given(labels=labels_of_both, batch_size=st.integers(1, 9))
def test_unbalanced_a_pass_shows_every_sample_once(labels, batch_size):
    order = SampleOrder(labels, batch_size=batch_size, seed=3, balanced=False)
    seen = drawn(order, 2 * len(labels))
    assert sorted(seen[: len(labels)]) == list(range(len(labels)))


@given(labels=labels_of_both, balanced=st.booleans(), step=st.integers(1, 60))
def test_a_step_has_the_same_samples_whatever_ran_before_it(labels, balanced, step):
    options = {"batch_size": 5, "seed": 1, "balanced": balanced}
    walked, jumped = SampleOrder(labels, **options), SampleOrder(labels, **options)
    drawn(walked, step - 1)
    assert walked.batch(step) == jumped.batch(step)


def test_the_seed_decides_the_order():
    labels = [0, 1] * 20
    first, same, other = (
        SampleOrder(labels, batch_size=8, seed=seed, balanced=True).batch(1) for seed in (0, 0, 1)
    )
    assert first == same != other


@given(batch=st.lists(st.integers(), max_size=20), size=st.integers(1, 7))
def test_pieces_are_a_batch_cut_up_in_order(batch, size):
    cut_up = list(pieces(batch, size))
    assert list(chain.from_iterable(cut_up)) == batch
    assert all(0 < len(piece) <= size for piece in cut_up)


row_lengths = st.lists(st.integers(0, 30), max_size=20)


@given(lengths=row_lengths, size=st.integers(1, 7))
def test_rows_of_like_length_stand_together_and_none_is_lost(lengths, size):
    rows = [{"input_ids": torch.zeros(length)} if length else None for length in lengths]
    paired = by_length(rows, range(len(rows)))
    assert sorted(location for _, location in paired) == list(range(len(rows)))
    assert all(row is rows[location] for row, location in paired)
    found = [num_tokens(row) for row, _ in paired]
    assert found == sorted(lengths)
    assert num_positions(found, size) <= num_positions(lengths, size)


def test_padding_counts_among_what_is_computed_and_unreadable_rows_do_not():
    assert num_positions([4, 2, 0, 3], size=2) == 4 + 4 + 3
    assert num_positions([2, 3, 4], size=9) == 12
    assert num_positions([0, 0], size=2) == num_positions([], size=2) == 0


def test_rows_that_cannot_be_read_are_left_out_of_a_batch_with_their_answers():
    row = {"input_ids": torch.tensor([5, 6])}
    batch, answers = collate([None, row, None], [1, 2, 3], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[5, 6]]
    assert answers.tolist() == [2]


@pytest.fixture(scope="module")
def processor(tiny_omni):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(tiny_omni)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def reader(store, processor):
    with reading_threads() as executor:

        def make(num_samples: int, keep_bytes: int) -> RowReader:
            config = InputConfig(max_pixels=64 * 64)
            rows = MediaRows(store_url=store.url, processor=processor, config=config)
            return RowReader(rows, executor, num_samples=num_samples, keep_bytes=keep_bytes)

        yield make


@pytest.mark.slow
def test_rows_come_in_order_and_the_same_kept_or_read_again(store, reader, toy_samples):
    samples = toy_samples(store, 5)
    batches = [samples[:2], samples[1:4], samples]
    kept = list(reader(5, 1 << 30).iter_batches(batches))
    again = list(reader(5, 0).iter_batches(batches))
    assert [len(rows) for rows in kept] == [2, 3, 5]
    for first, second in zip(chain(*kept), chain(*again), strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert [len(row["input_ids"]) for row in kept[2]][:2] == [
        len(row["input_ids"]) for row in kept[0]
    ]


@pytest.mark.slow
def test_kept_rows_need_their_files_no_more(store, reader, toy_samples):
    samples = toy_samples(store, 2)
    rows = reader(2, 1 << 30)
    list(rows.iter_batches([samples]))
    store.remove("segment")
    assert all(row is not None for row in next(rows.iter_batches([samples])))


def test_what_several_processes_cannot_read_counts_together():
    with reading_threads() as executor:
        reader = RowReader(lambda _: {}, executor, num_samples=200, keep_bytes=0)
        reader.hear_of_unreadable([reader.unreadable, {"a"}, {"a", "b"}])
        assert reader.unreadable == {"a", "b"}
        with pytest.raises(StageError, match="3 of 200 samples have no readable picture"):
            reader.hear_of_unreadable([reader.unreadable, {"c"}])


@pytest.mark.slow
def test_one_damaged_sample_in_a_hundred_is_left_out_and_two_are_an_error(
    store, reader, toy_samples
):
    samples = toy_samples(store, 3)
    store.write_bytes(samples[0].video_path, b"no picture")
    store.remove(samples[1].video_path)
    rows = reader(100, 1 << 30)
    assert next(rows.iter_batches([[samples[0], samples[0], samples[2]]]))[:2] == [None, None]
    assert rows.unreadable == {samples[0].segment_id}
    with pytest.raises(StageError, match="2 of 100 samples have no readable picture"):
        next(rows.iter_batches([[replace(samples[1])]]))
