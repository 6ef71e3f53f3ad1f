"""Rows of the first three stages, read from the store at each call, and what those stages expect.

A stage expects items: an id each, with the digest of the inputs that its result depends on. A
result that was computed from other inputs does not count.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from flows.context.context import Context
from flows.context.request import StageName
from storage.errors import StageError
from storage.records import (
    ClassPlanRecord,
    FrameTimesRecord,
    MediaHashRecord,
    SampleRecord,
    SegmentRecord,
    TranscriptRecord,
)
from storage.store.variant import Variant
from tasks import manifest as manifest_stage
from tasks.labels.cut_points import cut_points_of
from tasks.labels.duplicates.accepted import accepted_by_video
from tasks.manifest import VideoInputs
from tasks.segment import SourceVideo

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRows:
    """A finished manifest: its samples by video and time, and perceptual hashes of the videos.

    ``expected_transcripts`` are the videos that `transcribe` expects, ``expected`` those that
    `manifest` expects.
    """

    expected_transcripts: Mapping[str, str]
    expected: Mapping[str, str]
    samples: tuple[SampleRecord, ...]
    hashes: tuple[MediaHashRecord, ...]


def read_rows(
    stage: StageName, variant: Variant, record_type: type[Record], expected: Mapping[str, str]
) -> list[Record]:
    """Read a finished stage's rows.

    Raises:
        StageError: the stage is not finished for the current data and settings.
    """
    missing = len(variant.pending(expected))
    if missing:
        raise StageError(
            f"Stage {stage!r} is not finished: {missing} of {len(expected)} results are missing or "
            f"were computed from other data or settings; run it first, with `waver run --from "
            f"{stage}`."
        )
    return variant.read(record_type, expected)


def sources_of(context: Context) -> dict[str, SourceVideo]:
    """Return every video's file, the digest of its content, and where it must be cut."""
    paths, digests = context.dataset.paths(), context.dataset.source_digests()
    annotated = context.settings.segment.boundaries == "annotated"
    return {
        video.video_id: SourceVideo(
            path=paths[video.video_id],
            source_digest=digests[video.video_id],
            cut_points_ms=cut_points_of(video) if annotated else (),
        )
        for video in context.videos
    }


def expected_videos(context: Context) -> dict[str, str]:
    """Return what `segment` expects: every video, with the digest of its content and cut points."""
    return {video_id: source.digest for video_id, source in sources_of(context).items()}


def read_segments(context: Context) -> dict[str, tuple[SegmentRecord, ...]]:
    """Read every usable video's segments, in order."""
    expected = expected_videos(context)
    grouped: dict[str, list[SegmentRecord]] = defaultdict(list)
    for row in read_rows("segment", context.segment, SegmentRecord, expected):
        grouped[row.video_id].append(row)
    return {
        video_id: tuple(sorted(grouped[video_id], key=lambda segment: segment.index))
        for video_id in expected
        if video_id in grouped
    }


def read_frame_times(context: Context) -> list[FrameTimesRecord]:
    """Read the times of every usable video's frames."""
    return read_rows("segment", context.segment, FrameTimesRecord, expected_videos(context))


def expected_transcripts(
    context: Context, segments: Mapping[str, tuple[SegmentRecord, ...]]
) -> dict[str, str]:
    """Return what `transcribe` expects: the videos that have segments."""
    expected = expected_videos(context)
    return {video_id: expected[video_id] for video_id in segments}


def read_video_inputs(
    context: Context, segments: Mapping[str, tuple[SegmentRecord, ...]]
) -> dict[str, VideoInputs]:
    """Read what `manifest` works on: segments, transcript and annotation of each video."""
    sources, expected = sources_of(context), expected_transcripts(context, segments)
    rows = read_rows("transcribe", context.transcribe, TranscriptRecord, expected)
    transcripts = {row.video_id: row for row in rows}
    accepted = accepted_by_video(context.accepted_duplicates)
    return {
        video.video_id: VideoInputs(
            video=video,
            source_digest=sources[video.video_id].source_digest,
            segments=segments[video.video_id],
            transcript=transcripts[video.video_id],
            cut_at_bounds=bool(sources[video.video_id].cut_points_ms),
            accepted_duplicates=accepted.get(video.video_id, ()),
        )
        for video in context.videos
        if video.video_id in transcripts
    }


def read_manifest(context: Context) -> ManifestRows:
    """Read the whole manifest.

    Raises:
        StageError: one of the first three stages is not finished.
    """
    segments = read_segments(context)
    inputs = read_video_inputs(context, segments)
    expected = {video_id: of_video.digest for video_id, of_video in inputs.items()}
    samples = read_rows("manifest", context.manifest, SampleRecord, expected)
    return ManifestRows(
        expected_transcripts=expected_transcripts(context, segments),
        expected=expected,
        samples=tuple(sorted(samples, key=lambda sample: (sample.video_id, sample.index))),
        hashes=tuple(context.segment.read(MediaHashRecord, expected_videos(context))),
    )


def expected_class_plan(context: Context, manifest: ManifestRows) -> dict[str, str]:
    """Return the class plan's item, with the digest of the training samples."""
    return manifest_stage.expected_plan(manifest.samples, context.settings.manifest)


def read_class_plan(context: Context, manifest: ManifestRows) -> tuple[ClassPlanRecord, ...]:
    """Read how much each class counts in training."""
    expected = expected_class_plan(context, manifest)
    return tuple(read_rows("manifest", context.manifest, ClassPlanRecord, expected))
