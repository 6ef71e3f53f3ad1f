"""Changes to a finished store and its data, and what the next run then computes."""

import shutil
from collections import Counter
from pathlib import Path

from flows.context.context import Context, open_context
from flows.context.models import resolve_models
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.context.rows import (
    expected_transcripts,
    expected_videos,
    read_manifest,
    read_segments,
    read_video_inputs,
)
from storage.store.part import marker_paths, read_parts
from storage.store.variant import Variant
from tasks.aggregate import aggregate_shard
from tasks.inference.samples import expected_items
from tasks.manifest import sample_videos
from tasks.stage import Shard
from tests.flows import toys


def run_again(request: RunRequest, folder: Path, *, report: bool = True) -> Counter[str]:
    """Compute what is missing, as a run does, with toy rows; returns the items by stage."""
    folder.mkdir(exist_ok=True)
    context, computed = open_context(request), Counter[str]()

    def compute(variant: Variant, expected, output_of) -> None:
        if variant.stage in request.force:
            variant.invalidate(expected)
        pending = variant.pending(expected)
        computed[variant.stage] += len(pending)
        variant.commit([output_of(item) for item in pending], expected)

    compute(context.segment, expected_videos(context), lambda v: toys._cut(context, v, folder))
    segments = read_segments(context)
    transcripts = expected_transcripts(context, segments)
    compute(context.transcribe, transcripts, toys._transcribed)
    inputs = read_video_inputs(context, segments)
    samples = {
        output.item_id: output
        for output in sample_videos(list(inputs), inputs, context.settings.manifest)
    }
    digests = {name: of_video.digest for name, of_video in inputs.items()}
    compute(context.manifest, digests, samples.__getitem__)
    manifest = read_manifest(context)
    rows = {sample.segment_id: sample for sample in manifest.samples}
    predictions = resolve_models(context, manifest).variant
    compute(predictions, expected_items(manifest.samples), lambda s: toys._predicted(rows[s]))
    if report:
        computed["aggregate"] += write_report(context)
    return computed


def write_report(context: Context) -> int:
    report = open_report(context)
    if "aggregate" in context.request.force:
        report.variant.invalidate(report.expected)
    num_pending = len(report.variant.pending(report.expected))
    shard = Shard(name="1 of 1", expected=report.expected)
    aggregate_shard.fn(shard, report.sources, context.settings.aggregate, report.variant)
    return num_pending


def variant_of(context: Context, stage: str) -> Variant:
    if stage == "infer":
        return resolve_models(context, read_manifest(context)).variant
    return getattr(context, stage)


def first_marker(variant: Variant) -> Path:
    return Path(variant.store.full_path(marker_paths(variant.store, variant.path)[0]))


def damage(request: RunRequest, stage: str, what: str) -> None:
    """Damage or remove one marker, table or media file of a stage."""
    context = open_context(request)
    variant = variant_of(context, stage)
    part = next(read_parts(variant.store, variant.path))
    folder = Path(variant.store.full_path(variant.path))
    if what == "marker":
        first_marker(variant).unlink()
    elif what == "damaged marker":
        first_marker(variant).write_bytes(b"{")
    elif what == "table":
        name = sorted(part.tables)[0]
        (folder / name / f"{part.part_id}.parquet").write_bytes(b"other content")
    elif what == "file":
        path = next(path for files in part.files.values() for path in files)
        Path(variant.store.full_path(path)).unlink()
    elif what == "variant":
        shutil.rmtree(folder)
    else:
        variant.invalidate(dict(list(part.items.items())[:2]))
