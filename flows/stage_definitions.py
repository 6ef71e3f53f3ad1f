"""What each of the six stages computes: its variant, expected items, task and arguments.

Every function reads what the earlier stages have written and returns the stage as it is now.
"""

import os
from functools import partial

from flows.context.context import Context
from flows.context.models import Model, Models, finetune_variant
from flows.context.results import Report
from flows.context.rows import (
    ManifestRows,
    expected_class_plan,
    expected_transcripts,
    read_class_plan,
    read_segments,
    read_video_inputs,
    verified_sources,
    verify_segments,
)
from flows.running.stage import Stage
from tasks import finetune
from tasks.aggregate import aggregate_shard
from tasks.ensemble import ensemble_shard
from tasks.finetune import finetune_models
from tasks.infer import infer_shard
from tasks.inference.samples import expected_items
from tasks.manifest import class_plan, manifest_shard
from tasks.segment import segment_shard
from tasks.training.job import SampleSource
from tasks.transcribe import transcribe_shard

_SHARDS_PER_CORE = 4


def segment_stage(context: Context) -> Stage:
    """Return the stage that cuts videos; an item is a video."""
    settings, sources = context.settings, verified_sources(context)
    return Stage(
        name="segment",
        unit="videos",
        variant=context.segment,
        expected={video_id: source.digest for video_id, source in sources.items()},
        task=segment_shard,
        by_item={"sources": sources},
        arguments={"config": settings.segment, "resources": settings.resources.segment},
        shard_size=for_every_core(len(sources), settings.resources.shard_videos),
        checks_cached=False,
    )


def for_every_core(num_videos: int, shard_size: int) -> int:
    """Return a shard size that keeps all cores busy on few videos of different lengths."""
    num_shards = _SHARDS_PER_CORE * (os.cpu_count() or 1)
    return max(1, min(shard_size, -(-num_videos // num_shards)))


def transcribe_stage(context: Context) -> Stage:
    """Return the stage that transcribes; an item is a video that has segments."""
    segments = read_segments(context)
    return Stage(
        name="transcribe",
        unit="videos",
        variant=context.transcribe,
        expected=context.own(expected_transcripts(context, segments)),
        task=transcribe_shard,
        by_item={"segments": segments},
        arguments={"config": context.settings.transcribe},
        shard_size=context.settings.resources.shard_videos,
        checks_cached=False,
        before_use=partial(verify_segments, context),
    )


def manifest_stage(context: Context) -> Stage:
    """Return the stage that writes samples; an item is a video with segments and a transcript."""
    inputs = context.own(read_video_inputs(context, read_segments(context)))
    return Stage(
        name="manifest",
        unit="videos",
        variant=context.manifest,
        expected={video_id: of_video.digest for video_id, of_video in inputs.items()},
        task=manifest_shard,
        by_item={"inputs": inputs},
        arguments={"config": context.settings.manifest},
        shard_size=context.settings.resources.shard_videos,
        checks_cached=False,
    )


def class_plan_stage(context: Context, manifest: ManifestRows) -> Stage:
    """Return the manifest's second step: how much each class counts in training, as one item."""
    return Stage(
        name="manifest",
        unit="class plans",
        is_followed=False,  # a single item
        variant=context.manifest,
        expected=expected_class_plan(context, manifest),
        task=class_plan,
        arguments={"samples": manifest.samples, "config": context.settings.manifest},
    )


def finetune_stage(context: Context, manifest: ManifestRows) -> Stage:
    """Return the stage that trains; an item is the model of one seed."""
    settings, plan = context.settings, read_class_plan(context, manifest)
    return Stage(
        name="finetune",
        unit="models",
        variant=finetune_variant(context),
        expected=finetune.expected_items(manifest.samples, plan, settings.finetune),
        task=finetune_models,
        is_followed=False,  # the task reports the training steps
        arguments={
            "samples": manifest.samples,
            "plan": plan,
            "config": settings.finetune,
            "input_config": settings.input,
            "resources": settings.resources.finetune,
            "source": SampleSource(
                path=context.manifest.path, max_words_before=settings.manifest.max_words_before
            ),
        },
        before_use=lambda _: verify_segments(
            context, {sample.video_id for sample in manifest.samples}
        ),
    )


def infer_stage(context: Context, manifest: ManifestRows, model: Model) -> Stage:
    """Return the stage that infers with one model; an item is a segment.

    All segments are one shard, since its engines are started once.
    """
    settings = context.settings
    samples = {str(sample.segment_id): sample for sample in manifest.samples}
    return Stage(
        name="infer",
        unit="segments",
        variant=model.variant,
        expected=context.own(expected_items(manifest.samples)),
        task=infer_shard,
        by_item={"samples": samples},
        arguments={
            "model_path": model.path,
            "config": settings.infer,
            "input_config": settings.input,
            "resources": settings.resources.infer,
        },
        shard_size=max(1, len(manifest.samples)),
        before_use=lambda items: verify_segments(
            context, {samples[item].video_id for item in items}
        ),
    )


def ensemble_stage(context: Context, manifest: ManifestRows, models: Models) -> Stage:
    """Return the stage that averages the members' predictions; an item is a segment."""
    return Stage(
        name="infer",
        unit="segments",
        variant=models.variant,
        expected=context.own(expected_items(manifest.samples)),
        task=ensemble_shard,
        arguments={"variants": list(models.member_variants.values())},
        shard_size=max(1, len(manifest.samples)),
    )


def aggregate_stage(context: Context, report: Report) -> Stage:
    """Return the stage that pools, measures and reports; its one item is the report."""
    return Stage(
        name="aggregate",
        unit="reports",
        is_followed=False,  # a single item
        variant=report.variant,
        expected=report.expected,
        task=aggregate_shard,
        arguments={"sources": report.sources, "config": context.settings.aggregate},
    )
