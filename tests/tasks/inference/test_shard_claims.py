import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.inference import shard_claims
from tasks.inference.shard_claims import claim_samples, shard_size_for
from tests.s3_server import S3Server


def test_concurrent_engines_claim_every_sample_once(tmp_path: Path) -> None:
    samples = list(range(100))
    with ThreadPoolExecutor(4) as threads:
        claimed = threads.map(
            lambda owner: list(claim_samples(samples, str(tmp_path / "c"), size=3, owner=owner)),
            range(4),
        )
    assert sorted(sample for samples_of_one in claimed for sample in samples_of_one) == samples


def test_claims_are_exclusive_without_hard_links_too(tmp_path: Path, monkeypatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(shard_claims.os, "link", link)
    claims = shard_claims.Claims(str(tmp_path / "c"))
    assert claims.claim(1, owner=1)
    assert not claims.claim(1, owner=2)
    assert claims.claim(2, owner=2)
    assert (claims.of(1), claims.all()) == ({1}, {1, 2})
    assert list(tmp_path.iterdir()) == [tmp_path / "c"], "nothing is left beside the claims"


def test_a_slow_engine_leaves_more_samples_to_the_others(tmp_path: Path) -> None:
    slow = claim_samples(range(10), str(tmp_path), size=2, owner=0)  # type: ignore[arg-type]
    assert next(slow) == 0
    assert list(claim_samples(range(10), str(tmp_path), size=2, owner=1)) == list(range(2, 10))  # type: ignore[arg-type]
    assert list(slow) == [1]


@given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=1, max_value=64))
def test_shards_are_small_enough_for_engines_to_finish_together(count: int, engines: int) -> None:
    size = shard_size_for(count, engines)
    assert 1 <= size <= 64
    assert size == 1 or size * engines * 16 <= count


def test_an_engine_that_is_started_again_continues_with_its_own_claims(tmp_path: Path) -> None:
    url, samples = str(tmp_path / "c"), list(range(12))
    lost = claim_samples(samples, url, size=2, owner=1)
    other = claim_samples(samples, url, size=2, owner=2)
    assert [next(lost), next(lost), next(lost)] == [0, 1, 2]
    assert [next(other), next(other)] == [4, 5]
    again = claim_samples(samples, url, size=2, owner=1)
    assert list(again) == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]
    assert list(other) == []


def test_engines_claim_every_sample_of_a_store_in_s3_once(bucket: str) -> None:
    url, samples = f"s3://{bucket}/store/.tmp/claims", list(range(40))
    with ThreadPoolExecutor(4) as threads:
        claimed = threads.map(
            lambda owner: list(claim_samples(samples, url, size=3, owner=owner)), range(4)
        )
    assert sorted(sample for samples_of_one in claimed for sample in samples_of_one) == samples
    claims = shard_claims.Claims(url)
    assert not claims.claim(0, owner=9)
    assert claims.claim(40, owner=9)
    assert claims.of(9) == {40}


def test_a_claim_that_meets_another_request_is_repeated(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = shard_claims.Claims(f"s3://{bucket}/store/.tmp/claims")
    monkeypatch.setattr(s3_server, "conflicts", 2)
    assert claims.claim(7, owner=1)
    assert s3_server.conflicts == 0
    monkeypatch.setattr(s3_server, "conflicts", 2)
    assert not claims.claim(7, owner=2)
