from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import stage_definitions
from flows.context.context import open_context
from flows.context.models import resolve_models
from flows.context.partition import PARTITIONED, Partition, parse_partition, partition_of
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.context.rows import read_manifest
from flows.context.stage_names import STAGES
from flows.running.stage import Stage
from storage.errors import ConfigError
from storage.store.file_index import FileIndex


@given(st.sets(st.text(max_size=12), max_size=60), st.integers(1, 9), st.randoms())
def test_partitions_are_disjoint_balanced_and_cover_everything_in_any_order(
    items: set[str], count: int, random
) -> None:
    expected = {item: f"digest of {item}" for item in sorted(items)}
    parts = [Partition(number=n, count=count).select(expected) for n in range(1, count + 1)]
    found = Counter(item for part in parts for item in part)
    assert found == Counter(expected.keys())
    assert all(expected[item] == value for part in parts for item, value in part.items())
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    shuffled = list(expected.items())
    random.shuffle(shuffled)
    other_inputs = {item: "another digest" for item, _ in shuffled}
    again = [set(Partition(number=n + 1, count=count).select(other_inputs)) for n in range(count)]
    assert again == [set(part) for part in parts]


def test_neighbors_are_spread_over_the_partitions() -> None:
    """Long videos often follow each other: names in a row must not end in one partition."""
    expected = {f"video {number:04d}": number for number in range(1_000)}
    parts = [Partition(number=n, count=4).select(expected) for n in range(1, 5)]
    for part in parts:
        assert 400 < sum(part.values()) / len(part) < 600


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "1 / 4", "a/b", "²/4"]
)
def test_a_malformed_partition_is_named_with_its_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"not of the form K/N .* 2/8"):
        parse_partition(text)


@pytest.mark.parametrize(
    "only", [(), ("segment", "transcribe"), ("finetune",), ("aggregate",)], ids=str
)
def test_a_partition_needs_exactly_one_stage_that_can_be_partitioned(only, finished) -> None:
    request = finished.model_copy(update={"only": only, "partition": "1/2"})
    with pytest.raises(ConfigError, match=r"'1/2' needs exactly one stage: .* with --only"):
        partition_of(request)
    if only != ("finetune",):  # a named model leaves nothing to run, which is reported first
        with pytest.raises(ConfigError, match="exactly one stage"):
            check_before_start(open_context(request))


def test_every_stage_but_those_on_all_items_can_be_partitioned() -> None:
    assert set(STAGES) - set(PARTITIONED) == {"finetune", "aggregate"}


def stage_of(request: RunRequest) -> Stage:
    context = open_context(request)
    match request.only[0]:
        case "segment":
            return stage_definitions.segment_stage(context.with_own_videos())
        case "transcribe":
            return stage_definitions.transcribe_stage(context)
        case "manifest":
            return stage_definitions.manifest_stage(context)
    manifest = read_manifest(context)
    model = resolve_models(context, manifest).members[0]
    return stage_definitions.infer_stage(context, manifest, model)


@pytest.mark.parametrize("name", PARTITIONED)
def test_runs_of_all_partitions_cover_a_stage_exactly_once(name, finished: RunRequest) -> None:
    request = finished.model_copy(update={"only": (name,)})
    parts = [
        stage_of(request.model_copy(update={"partition": f"{number}/3"})) for number in (1, 2, 3)
    ]
    whole = stage_of(request)
    assert {item for part in parts for item in part.expected} == set(whole.expected)
    assert sum(len(part.expected) for part in parts) == len(whole.expected) > 3
    for part in parts:
        assert part.variant.path == whole.variant.path
        for shard in part.shards():
            part.arguments_of(shard)


def test_a_run_of_a_partition_reads_no_other_video(
    finished: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    really_read = FileIndex._read_fact

    def record(self: FileIndex, path: Path, *arguments) -> str:
        read.append(path)
        return really_read(self, path, *arguments)

    monkeypatch.setattr(FileIndex, "_read_fact", record)
    request = finished.model_copy(update={"only": ("segment",), "verify": True})
    parts = []
    for number in (1, 2):
        stage = stage_of(request.model_copy(update={"partition": f"{number}/2"}))
        videos = {path.name for path in read if path.suffix == ".mp4" and "Videos" in str(path)}
        assert len(videos) == len(stage.expected) == 4
        parts.append(videos)
        read.clear()
    assert not parts[0] & parts[1]
