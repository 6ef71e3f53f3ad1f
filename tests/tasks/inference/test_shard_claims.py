from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tasks.inference.shard_claims import claim_samples, shard_size_for


def test_concurrent_engines_claim_every_sample_once(tmp_path: Path) -> None:
    samples = list(range(100))
    with ThreadPoolExecutor(4) as threads:
        claimed = threads.map(
            lambda _: list(claim_samples(samples, tmp_path / "c", size=3)), range(4)
        )
    assert sorted(sample for samples_of_one in claimed for sample in samples_of_one) == samples


def test_a_slow_engine_leaves_more_samples_to_the_others(tmp_path: Path) -> None:
    slow = claim_samples(range(10), tmp_path, size=2)  # type: ignore[arg-type]
    assert next(slow) == 0
    assert list(claim_samples(range(10), tmp_path, size=2)) == list(range(2, 10))  # type: ignore[arg-type]
    assert list(slow) == [1]


@given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=1, max_value=64))
def test_shards_are_small_enough_for_engines_to_finish_together(count: int, engines: int) -> None:
    size = shard_size_for(count, engines)
    assert 1 <= size <= 64
    assert size == 1 or size * engines * 16 <= count
