import inspect
from dataclasses import replace

import pytest

from flows import stage_definitions
from flows.context.context import open_context
from flows.context.models import resolve_models
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.context.rows import read_manifest
from flows.running.stage import Stage, for_every_core
from tests.flows.toys import videos_of


def all_stages(request: RunRequest) -> list[Stage]:
    context = open_context(request)
    manifest, report = read_manifest(context), open_report(context)
    models = resolve_models(context, manifest)
    infer = stage_definitions.infer_stage(context, manifest, models.members[0])
    return [
        stage_definitions.segment_stage(context),
        stage_definitions.transcribe_stage(context),
        stage_definitions.manifest_stage(context),
        stage_definitions.class_plan_stage(context, manifest),
        stage_definitions.finetune_stage(context, manifest),
        infer,
        stage_definitions.ensemble_stage(context, manifest, models),
        stage_definitions.aggregate_stage(context, report),
    ]


def test_every_stage_gives_its_task_exactly_the_arguments_that_it_takes(
    finished: RunRequest,
) -> None:
    context = open_context(finished)
    plan = stage_definitions.class_plan_stage(context, read_manifest(context))
    plan.task.fn(**plan.arguments_of(plan.shards()[0]))
    for stage in all_stages(finished):
        shards = stage.shards()
        assert sum(len(shard.expected) for shard in shards) == len(stage.expected) > 0
        for shard in shards:
            bound = inspect.signature(stage.task.fn).bind(**stage.arguments_of(shard))
            assert bound.arguments["variant"] is stage.variant


def test_a_shard_gets_only_the_rows_of_its_own_items(finished: RunRequest) -> None:
    stage = stage_definitions.segment_stage(open_context(finished))
    assert stage.shard_size == 1, "eight videos are spread over all cores"
    first, *_ = stage.shards()
    arguments = stage.arguments_of(first)
    assert list(arguments["sources"]) == list(first.expected) == [videos_of("90001")[0]]


@pytest.mark.parametrize(
    ("num_items", "shard_size", "num_shards"),
    [(100, 16, 7), (8_000, 16, 500), (8_001, 16, 471), (100_000, 16, 500), (100_000, 100_000, 1)],
)
def test_shards_grow_with_the_data_so_that_their_number_stays_bounded(
    num_items: int, shard_size: int, num_shards: int, finished: RunRequest
) -> None:
    stage = replace(
        stage_definitions.segment_stage(open_context(finished)),
        expected={str(index): "digest" for index in range(num_items)},
        shard_size=shard_size,
    )
    shards = stage.shards()
    assert len(shards) == num_shards
    assert [item for shard in shards for item in shard.expected] == list(stage.expected)


@pytest.mark.parametrize("cores", [1, 2, 64])
@pytest.mark.parametrize("num_videos", [0, 1, 2, 3, 9, 17, 500, 20_000])
def test_no_core_is_idle_while_another_has_more_than_one_video_left(cores, num_videos):
    size = for_every_core(num_videos, 16, cores)
    assert 1 <= size <= 16
    num_shards = -(-num_videos // size)
    assert num_shards >= min(num_videos, 2 * cores)
