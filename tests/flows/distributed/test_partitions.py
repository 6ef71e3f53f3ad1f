"""Partitions of one model's segments, which every node computes alike from what it sees."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.context.context import open_context
from flows.context.models import resolve_models
from flows.context.request import RunRequest
from flows.context.rows import read_manifest
from flows.context.settings import load_settings
from flows.distributed.partitions import (
    Partition,
    _check_segments,
    _find_model,
    create_partitions,
    num_partitions_for,
    request_for_nodes,
    tag_of,
)
from storage.errors import ConfigError, StageError
from storage.store.store import Store
from storage.store.variant import open_variant
from tasks.inference.samples import expected_items

IDS = st.dictionaries(st.text(max_size=8), st.text(alphabet="0123456789abcdef", max_size=4))


def partitions(count: int, missing: str = "") -> list[Partition]:
    return [
        Partition(variant_id="v", expected="", missing=missing, number=number + 1, count=count)
        for number in range(count)
    ]


@given(IDS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_segment_is_in_exactly_one_partition_on_every_node(expected, count, random) -> None:
    elsewhere = list(expected.items())
    random.shuffle(elsewhere)
    parts = [partition.select(expected) for partition in partitions(count)]
    assert parts == [partition.select(dict(elsewhere)) for partition in partitions(count)]
    assert sorted(name for part in parts for name in part) == sorted(expected)
    assert all(expected[name] == digest for part in parts for name, digest in part.items())
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_one_partition_leaves_behind_is_spread_over_the_next_ones() -> None:
    expected = {f"segment {number}": "" for number in range(400)}
    left = set(partitions(2, "all")[1].select(expected))
    again = [
        len(left & set(partition.select(expected)))
        for partition in partitions(2, "those of the second")
    ]
    assert sum(again) == 200
    assert min(again) > 70


@given(st.integers(1, 1_000_000), st.integers(1, 32))
def test_every_node_has_a_partition_but_no_engine_starts_for_a_few_segments(missing, nodes) -> None:
    count = num_partitions_for(missing, nodes)
    assert 1 <= count <= 4 * nodes
    assert count == 1 or missing / count >= 16
    assert count >= nodes or missing < 16 * nodes
    assert count <= nodes or missing / count >= 4096


def test_a_partition_knows_its_segments_and_model_and_rejects_others(finished: RunRequest) -> None:
    context = open_context(finished)
    manifest = read_manifest(context)
    expected, models = expected_items(manifest.samples), resolve_models(context, manifest)
    assert create_partitions(models.variant, expected, 2) == [], "nothing is missing"
    models.variant.invalidate(expected)
    (partition,) = create_partitions(models.variant, expected, 2)
    elsewhere = open_context(request_for_nodes(context))
    _check_segments(elsewhere, expected_items(read_manifest(elsewhere).samples), partition)
    models_elsewhere = resolve_models(elsewhere, read_manifest(elsewhere))
    assert _find_model(elsewhere, models_elsewhere, partition).path == models.members[0].path
    outdated = partition.model_copy(update={"expected": "of yesterday"})
    with pytest.raises(StageError, match=r"other segments in .* run again"):
        _check_segments(context, expected, outdated)
    with pytest.raises(ConfigError, match=r"model .*omni-base.* the same on all nodes"):
        _find_model(context, models, partition.model_copy(update={"variant_id": "another"}))


def test_another_node_gets_the_absolute_path_of_every_folder(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for name in ("model", "speech", "base = 1", "videos"):
        (tmp_path / name).mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"a")
    (tmp_path / "ours.toml").write_text("transcribe.model = 'speech'\nextends = 'sandbox'")
    request = RunRequest(
        data="videos", store="store", profile="ours.toml", model="model", force=("infer",),
        start_at="segment", overrides=("finetune.model=base = 1", "finetune.method=full"),
    )  # fmt: skip
    context = open_context(request)
    sent = request_for_nodes(context)
    assert (sent.data, sent.store, sent.profile, sent.models) == (
        str(tmp_path / "videos"), str(tmp_path / "store"), str(tmp_path / "ours.toml"),
        (str(tmp_path / "model"),),
    )  # fmt: skip
    assert (sent.stages(), sent.force) == (("infer",), ())
    here = context.settings
    monkeypatch.chdir("/")
    elsewhere = load_settings(sent.profile, sent.overrides)
    assert elsewhere.transcribe.model == str(tmp_path / "speech")
    assert elsewhere.finetune.model == str(tmp_path / "base = 1")
    assert elsewhere.finetune.model_copy(update={"model": here.finetune.model}) == here.finetune


def test_hub_names_remote_stores_and_waver_s_own_folders_are_sent_as_they_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    request = RunRequest(
        data=str(tmp_path), store="memory://bucket/store", profile="sandbox", model="Org/model"
    )
    sent = request_for_nodes(open_context(request))
    assert (sent.data, sent.store, sent.profile, sent.models) == (
        request.data, request.store, request.profile, request.models,
    )  # fmt: skip
    assert sent.overrides == (), "a node finds Waver's own folders in its own checkout"


def test_partitions_of_the_same_model_in_another_store_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    same, other, again = (
        tag_of(open_variant(Store(name), "infer", version=1, settings={"model": "m"}))
        for name in ("store", "another", str(tmp_path / "store"))
    )
    assert other != same == again
