"""What each of the six stages computes: its variant, expected items, task and arguments.

Every function reads what the earlier stages have written and returns the stage as it is now.
"""

import os
from functools import partial
from pathlib import Path

from flows.cluster.engines import ClusterEngines
from flows.cluster.tasks_on_nodes import NodeResources
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
from flows.running.stage import Stage, for_every_core
from tasks import finetune
from tasks.aggregate import aggregate_shard
from tasks.ensemble import ensemble_shard
from tasks.finetune import finetune_models
from tasks.infer import LOCAL, infer_shard
from tasks.inference.samples import expected_items
from tasks.manifest import class_plan, manifest_shard
from tasks.segment import segment_shard
from tasks.training.job import SampleSource
from tasks.transcribe import transcribe_shard

_WHISPER_THREADS = 4  # CTranslate2 gains little from more


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
        shard_size=for_every_core(
            len(sources), settings.resources.shard_videos, os.cpu_count() or 1
        ),
        checks_cached=False,
        needs=NodeResources(required_paths=(context.dataset.root,)),
    )


def transcribe_stage(context: Context) -> Stage:
    """Return the stage that transcribes; an item is a video that has segments."""
    segments, model = read_segments(context), Path(context.settings.transcribe.model)
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
        needs=NodeResources(
            num_cpus=_WHISPER_THREADS,
            num_gpus=1,
            required_paths=(model,) if model.is_dir() else (),
        ),
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

    All segments are one shard, whose engines are started once, on this node or on a cluster's.
    """
    settings, resources = context.settings, context.settings.resources
    engines = ClusterEngines(resources.ray_address) if resources.runner == "ray" else LOCAL
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
            "engines": engines,
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
