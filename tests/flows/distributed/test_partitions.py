"""Shares of one model's segments, as every machine computes them alike from what it sees."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.context.open import open_run
from flows.context.request import RunRequest
from flows.context.settings import load_settings
from flows.distributed.partitions import (
    Partition,
    _expected_here,
    _model_here,
    dealt,
    num_partitions_for,
    seen_anywhere,
    tag_of,
)
from storage.errors import ConfigError, StageError
from storage.store.store import Store
from storage.store.variant import open_variant

IDS = st.dictionaries(st.text(max_size=8), st.text(alphabet="0123456789abcdef", max_size=4))


def shares(count: int, missing: str = "") -> list[Partition]:
    return [
        Partition(variant_id="v", expected="", missing=missing, number=number + 1, count=count)
        for number in range(count)
    ]


@given(IDS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_segment_is_in_exactly_one_share_whoever_computes_it(expected, count, random) -> None:
    elsewhere = list(expected.items())
    random.shuffle(elsewhere)
    parts = [share.of(expected) for share in shares(count)]
    assert parts == [share.of(dict(elsewhere)) for share in shares(count)]
    assert sorted(name for part in parts for name in part) == sorted(expected)
    assert all(expected[name] == digest for part in parts for name, digest in part.items())
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_one_share_left_behind_is_spread_over_the_next_deal() -> None:
    expected = {f"segment {number}": "" for number in range(400)}
    left = set(shares(2, "all")[1].of(expected))
    again = [len(left & set(share.of(expected))) for share in shares(2, "those of the second")]
    assert sum(again) == 200
    assert min(again) > 70


@given(st.integers(1, 1_000_000), st.integers(1, 32))
def test_every_machine_has_a_share_but_no_engine_is_opened_for_a_handful(missing, machines) -> None:
    count = num_partitions_for(missing, machines)
    assert 1 <= count <= 4 * machines
    assert count == 1 or missing / count >= 16
    assert count >= machines or missing < 16 * machines
    assert count <= machines or missing / count >= 4096


def test_a_share_knows_its_segments_and_model_and_refuses_others(finished: RunRequest) -> None:
    run = open_run(finished)
    assert dealt(run.infer, run.expected_segments, 2) == [], "nothing is missing"
    run.infer.invalidate(run.expected_segments)
    (share,) = dealt(run.infer, run.expected_segments, 2)
    elsewhere = open_run(seen_anywhere(finished))
    assert share.of(_expected_here(elsewhere, share)) == share.of(run.expected_segments)
    assert _model_here(elsewhere, share) == run.model_path
    with pytest.raises(StageError, match=r"other segments in .* run again"):
        _expected_here(run, share.model_copy(update={"expected": "of yesterday"}))
    with pytest.raises(ConfigError, match=r"model .*omni-base.* the same on all machines"):
        _model_here(run, share.model_copy(update={"variant_id": "another"}))


def test_a_machine_elsewhere_is_told_every_folder_in_full(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for name in ("model", "speech", "base = 1"):
        (tmp_path / name).mkdir()
    (tmp_path / "ours.toml").write_text("transcribe.model = 'speech'\nextends = 'sandbox'")
    asked = RunRequest(
        data="videos", store="store", profile="ours.toml", model="model", force=("infer",),
        start_at="segment", overrides=("finetune.model=base = 1", "finetune.method=full"),
    )  # fmt: skip
    message = seen_anywhere(asked)
    assert (message.data, message.store, message.profile, message.models) == (
        str(tmp_path / "videos"), str(tmp_path / "store"), str(tmp_path / "ours.toml"),
        (str(tmp_path / "model"),),
    )  # fmt: skip
    assert (message.stages(), message.force) == (("infer",), ())
    here = load_settings(asked.profile, asked.overrides)
    monkeypatch.chdir("/")
    there = load_settings(message.profile, message.overrides)
    assert there.transcribe.model == str(tmp_path / "speech")
    assert there.finetune.model == str(tmp_path / "base = 1")
    assert there.finetune.model_copy(update={"model": here.finetune.model}) == here.finetune
    named = RunRequest(data="/d", store="s3://bucket/store", profile="sandbox", model="Org/model")
    message = seen_anywhere(named)
    assert (message.data, message.store, message.profile, message.models) == (
        named.data, named.store, named.profile, named.models,
    )  # fmt: skip
    assert message.overrides == (), "a machine finds Waver's own folders where Waver lies there"


def test_another_store_s_shares_of_the_same_model_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    same, other, again = (
        tag_of(open_variant(Store(name), "infer", version=1, settings={"model": "m"}))
        for name in ("store", "another", str(tmp_path / "store"))
    )
    assert other != same == again
