"""The stages that work on videos: what segment, transcribe and manifest would compute.

A video whose earlier stages are not finished has a fate: its results will be the `same` as before
if they only have to be computed again, or `new`. What follows from results that do not exist yet
is an estimate.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from flows.context.context import Context
from flows.context.rows import expected_videos, fill_sources, join_inputs
from flows.planning.reasons import History, as_reasons, explain, read_history
from flows.planning.records import Reason, StagePlan
from storage.datasets.dataset import source_index
from storage.media_records import SegmentRecord
from storage.records import RejectedRecord, SampleRecord, TranscriptRecord, VideoId
from storage.store.variant import Variant
from tasks.manifest import VideoInputs, sample_videos

Fate = Literal["same", "new"]
_NOT_READ = "not read"  # the digest of videos that no stage knows: they are missing in any case


@dataclass(kw_only=True)
class VideoPlan:
    """What is known after the first three stages.

    Attributes:
        samples: Of the videos whose segments and transcript are finished.
        fates: The videos whose samples are not known yet.
        per_video: Segments per video on average; ``None`` if no video is segmented.
    """

    stages: list[StagePlan] = field(default_factory=list)
    samples: list[SampleRecord] = field(default_factory=list)
    fates: dict[str, Fate] = field(default_factory=dict)
    per_video: float | None = None


def plan_videos(context: Context) -> VideoPlan:
    """Plan segment, transcribe and manifest; reads no video that the store does not know."""
    variants = (context.segment, context.transcribe, context.manifest)
    histories = {variant.stage: read_history(variant) for variant in variants}
    _fill_sources(context, histories)
    plan = VideoPlan()
    segments = _plan_segment(context, histories, plan)
    if segments:
        plan.per_video = sum(map(len, segments.values())) / len(segments)
    transcripts = _plan_transcribe(context, histories, plan, segments)
    inputs = join_inputs(context, segments, transcripts)
    _plan_manifest(context, histories["manifest"], plan, inputs)
    return plan


def _fill_sources(context: Context, histories: Mapping[str, History]) -> None:
    known = [
        video
        for video in context.dataset.videos
        if any(history.lists(video.video_id) for history in histories.values())
    ]
    dataset = replace(context.dataset, videos=tuple(known))
    digests = dict.fromkeys((VideoId(v.video_id) for v in context.dataset.videos), _NOT_READ)
    fill_sources(context, digests | dict(dataset.source_digests(source_index(context.store))))


def stage_plan(
    context: Context,
    variant: Variant,
    history: History,
    expected: Mapping[str, str],
    missing: Mapping[str, str | None],
    *,
    num_unknown: int = 0,
) -> StagePlan:
    """Plan a stage whose expected items are known, ``num_unknown`` of them by estimate.

    If the request forces the stage, all items are missing.
    """
    stage, reasons = variant.stage, explain(variant, history, missing)
    num_missing = len(missing)
    if stage in context.request.force:
        finished = {item: digest for item, digest in expected.items() if item not in missing}
        reasons = (*_forced(variant, finished), *reasons)
        num_missing = len(expected)
    return StagePlan(
        stage=stage,
        variant_id=variant.variant_id,
        num_expected=len(expected),
        num_cached=len(expected) - num_missing,
        num_missing=num_missing,
        is_estimate=num_unknown > 0,
        is_run=stage in context.stages,
        reasons=reasons,
    )


def _forced(variant: Variant, finished: Mapping[str, str]) -> tuple[Reason, ...]:
    num_rejected = len(variant.read(RejectedRecord, finished))
    counts = {
        ("forced", f"--force {variant.stage}"): len(finished) - num_rejected,
        ("rejected and forced", f"rejected earlier, --force {variant.stage}"): num_rejected,
    }
    return as_reasons({reason: count for reason, count in counts.items() if count})  # type: ignore[misc]


def _plan_segment(
    context: Context, histories: Mapping[str, History], plan: VideoPlan
) -> dict[str, tuple[SegmentRecord, ...]]:
    """Return the segments of the finished videos."""
    history, later = histories["segment"], histories["transcribe"]
    expected = expected_videos(context)
    found = context.look(context.segment, expected)
    missing: dict[str, str | None] = {item: expected[item] for item in found.pending}
    plan.stages.append(stage_plan(context, context.segment, history, expected, missing))
    for item in missing:
        was_used = expected[item] in later.digests.get(item, ())
        plan.fates[item] = _fate(history, item, expected[item], was_used=was_used)
    grouped: dict[str, list[SegmentRecord]] = defaultdict(list)
    for row in found.read(SegmentRecord):
        grouped[row.video_id].append(row)
    return {item: tuple(sorted(rows, key=lambda r: r.index)) for item, rows in grouped.items()}


def _fate(history: History, item: str, digest: str, *, was_used: bool) -> Fate:
    """Return the fate of a missing item; ``was_used`` if the next stage knows its results."""
    if item in history.digests:
        return "same" if digest in history.digests[item] else "new"
    return "same" if was_used or item in history.without_marker else "new"


def _plan_transcribe(
    context: Context,
    histories: Mapping[str, History],
    plan: VideoPlan,
    segments: Mapping[str, tuple[SegmentRecord, ...]],
) -> list[TranscriptRecord]:
    """Return the transcripts of the finished videos whose segments are known."""
    digests, history, later = (
        expected_videos(context), histories["transcribe"], histories["manifest"],
    )  # fmt: skip
    unknown = list(plan.fates)
    expected = {item: digests[item] for item in digests if item in segments or item in plan.fates}
    found = context.look(context.transcribe, expected)
    missing: dict[str, str | None] = {item: expected[item] for item in found.pending}
    plan.stages.append(
        stage_plan(
            context, context.transcribe, history, expected, missing, num_unknown=len(unknown)
        )
    )
    for item in missing:
        if plan.fates.get(item) != "new":
            was_used = later.lists(item)
            plan.fates[item] = _fate(history, item, expected[item], was_used=was_used)
    return [row for row in found.read(TranscriptRecord) if row.video_id in segments]


def _plan_manifest(
    context: Context, history: History, plan: VideoPlan, inputs: Mapping[str, VideoInputs]
) -> None:
    """Add the samples of all videos whose inputs are known, also those not yet in the store."""
    known = {item: of_video.digest for item, of_video in inputs.items()}
    unknown = {item: history.latest.get(item, "") for item in plan.fates}
    expected = {**known, **unknown}
    found = context.look(context.manifest, expected)
    missing: dict[str, str | None] = {item: expected[item] for item in found.pending}
    missing |= {item: None for item, fate in plan.fates.items() if fate == "new"}
    plan.stages.append(
        stage_plan(context, context.manifest, history, expected, missing, num_unknown=len(unknown))
    )
    plan.samples.extend(row for row in found.read(SampleRecord) if row.video_id in known)
    pending = [item for item in found.pending if item in known]
    computed = sample_videos(pending, inputs, context.settings.manifest)
    plan.samples.extend(
        row for output in computed for row in output.rows if isinstance(row, SampleRecord)
    )
    plan.samples.sort(key=lambda sample: (sample.video_id, sample.index))
