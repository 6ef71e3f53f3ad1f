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
from tasks.training.data.decoding import MediaRowMaker, reading_threads
from tasks.training.data.samples import (
    RowReader,
    SampleOrder,
    collate,
    micro_batches,
    num_padded_tokens,
    num_tokens,
    sort_by_length,
)

labels_of_both = st.lists(st.integers(0, 1), min_size=2, max_size=40).filter(
    lambda labels: len(set(labels)) == 2
)


def indices_of(order: SampleOrder, num_steps: int) -> list[int]:
    return list(chain.from_iterable(order.batch(step) for step in range(1, num_steps + 1)))


@given(labels=labels_of_both, batch_size=st.integers(1, 9), seed=st.integers(0, 5))
def test_balanced_batches_hold_both_labels_equally_often(labels, batch_size, seed):
    order = SampleOrder(labels, batch_size=batch_size, seed=seed, balanced=True)
    counts = Counter(labels[index] for index in indices_of(order, 12))
    assert abs(counts[0] - counts[1]) <= 1


@given(labels=labels_of_both, seed=st.integers(0, 5))
def test_every_sample_of_a_class_is_used_before_one_is_repeated(labels, seed):
    order = SampleOrder(labels, batch_size=2, seed=seed, balanced=True)
    for label in (0, 1):
        members = [index for index, found in enumerate(labels) if found == label]
        seen = [index for index in indices_of(order, 3 * len(members)) if labels[index] == label]
        for start in range(0, len(seen), len(members)):
            assert sorted(seen[start : start + len(members)]) == members


@given(labels=labels_of_both, batch_size=st.integers(1, 9))
def test_an_unbalanced_epoch_uses_every_sample_once(labels, batch_size):
    order = SampleOrder(labels, batch_size=batch_size, seed=3, balanced=False)
    seen = indices_of(order, 2 * len(labels))
    assert sorted(seen[: len(labels)]) == list(range(len(labels)))


@given(labels=labels_of_both, balanced=st.booleans(), step=st.integers(1, 60))
def test_a_step_has_the_same_samples_after_a_resume(labels, balanced, step):
    options = {"batch_size": 5, "seed": 1, "balanced": balanced}
    sequential, resumed = SampleOrder(labels, **options), SampleOrder(labels, **options)
    indices_of(sequential, step - 1)
    assert sequential.batch(step) == resumed.batch(step)


def test_the_seed_decides_the_order():
    labels = [0, 1] * 20
    first, same, other = (
        SampleOrder(labels, batch_size=8, seed=seed, balanced=True).batch(1) for seed in (0, 0, 1)
    )
    assert first == same != other


@given(batch=st.lists(st.integers(), max_size=20), size=st.integers(1, 7))
def test_micro_batches_split_a_batch_in_order(batch, size):
    parts = list(micro_batches(batch, size))
    assert list(chain.from_iterable(parts)) == batch
    assert all(0 < len(part) <= size for part in parts)


row_lengths = st.lists(st.integers(0, 30), max_size=20)


@given(lengths=row_lengths, size=st.integers(1, 7))
def test_rows_are_sorted_by_length_and_none_is_lost(lengths, size):
    rows = [{"input_ids": torch.zeros(length)} if length else None for length in lengths]
    paired = sort_by_length(rows, range(len(rows)))
    assert sorted(index for _, index in paired) == list(range(len(rows)))
    assert all(row is rows[index] for row, index in paired)
    paired_lengths = [num_tokens(row) for row, _ in paired]
    assert paired_lengths == sorted(lengths)
    if sum(map(bool, lengths)) % size == 0:  # a smaller last batch may favor another order
        assert num_padded_tokens(paired_lengths, size) <= num_padded_tokens(lengths, size)


def test_padded_tokens_include_padding_but_no_unreadable_rows():
    assert num_padded_tokens([4, 2, 0, 3], size=2) == 4 + 4 + 3
    assert num_padded_tokens([2, 3, 4], size=9) == 12
    assert num_padded_tokens([0, 0], size=2) == num_padded_tokens([], size=2) == 0


def test_unreadable_rows_are_omitted_from_a_batch_with_their_targets():
    row = {"input_ids": torch.tensor([5, 6])}
    batch, targets = collate([None, row, None], [1, 2, 3], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[5, 6]]
    assert targets.tolist() == [2]


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

        def make(num_samples: int, cache_bytes: int) -> RowReader:
            config = InputConfig(max_pixels=64 * 64)
            rows = MediaRowMaker(store_url=store.url, processor=processor, config=config)
            return RowReader(rows, executor, num_samples=num_samples, cache_bytes=cache_bytes)

        yield make


@pytest.mark.slow
def test_rows_are_in_order_and_identical_whether_cached_or_decoded_again(
    store, reader, toy_samples
):
    samples = toy_samples(store, 5)
    batches = [samples[:2], samples[1:4], samples]
    cached = list(reader(5, 1 << 30).iter_batches(batches))
    decoded = list(reader(5, 0).iter_batches(batches))
    assert [len(rows) for rows in cached] == [2, 3, 5]
    for first, second in zip(chain(*cached), chain(*decoded), strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert [len(row["input_ids"]) for row in cached[2]][:2] == [
        len(row["input_ids"]) for row in cached[0]
    ]


@pytest.mark.slow
def test_cached_rows_do_not_need_their_files(store, reader, toy_samples):
    samples = toy_samples(store, 2)
    rows = reader(2, 1 << 30)
    list(rows.iter_batches([samples]))
    store.remove("segment")
    assert all(row is not None for row in next(rows.iter_batches([samples])))


def test_unreadable_samples_are_counted_over_all_processes():
    with reading_threads() as executor:
        reader = RowReader(lambda _: {}, executor, num_samples=200, cache_bytes=0)
        reader.add_unreadable([reader.unreadable, {"a"}, {"a", "b"}])
        assert reader.unreadable == {"a", "b"}
        with pytest.raises(StageError, match="3 of 200 samples have no readable video"):
            reader.add_unreadable([reader.unreadable, {"c"}])


@pytest.mark.slow
def test_one_damaged_sample_in_a_hundred_is_skipped_and_two_are_an_error(
    store, reader, toy_samples
):
    samples = toy_samples(store, 3)
    store.write_bytes(samples[0].video_path, b"not a video")
    store.remove(samples[1].video_path)
    rows = reader(100, 1 << 30)
    assert next(rows.iter_batches([[samples[0], samples[0], samples[2]]]))[:2] == [None, None]
    assert rows.unreadable == {samples[0].segment_id}
    with pytest.raises(StageError, match="2 of 100 samples have no readable video"):
        next(rows.iter_batches([[replace(samples[1])]]))
