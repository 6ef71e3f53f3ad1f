"""Rows of the first three stages, read from the store at each call, and what those stages expect.

A stage expects items: an id each, with the digest of the inputs that its result depends on. A
result that was computed from other inputs does not count.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from flows.context.context import Context
from flows.context.stage_names import StageName
from storage.datasets.dataset import source_index
from storage.errors import StageError
from storage.media_records import FrameTimesRecord, MediaHashRecord, SegmentRecord
from storage.records import (
    ClassPlanRecord,
    SampleRecord,
    TranscriptRecord,
    VideoId,
)
from storage.store.snapshot import Snapshot
from storage.store.variant import Variant
from tasks import manifest as manifest_stage
from tasks.labels.cut_points import cut_points_of
from tasks.labels.duplicates.accepted import accepted_by_video
from tasks.labels.leakage import check_no_leakage
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


def require_finished(stage: StageName, found: Snapshot) -> Snapshot:
    """Return a stage's snapshot, from which several kinds of rows can be read.

    Raises:
        StageError: the stage is not finished for the current data and settings.
    """
    if missing := len(found.pending):
        raise StageError(
            f"Stage {stage!r} is not finished: {missing} of {len(found.expected)} results are "
            "missing or were computed from other data or settings; run it first, with `waver run "
            f"--from {stage}`."
        )
    return found


def read_rows(
    context: Context,
    stage: StageName,
    variant: Variant,
    record_type: type[Record],
    expected: Mapping[str, str],
) -> list[Record]:
    """Read a finished stage's rows.

    Raises:
        StageError: the stage is not finished for the current data and settings.
    """
    return require_finished(stage, context.look(variant, expected)).read(record_type)


def verify_segments(context: Context, video_ids: Iterable[str]) -> None:
    """Read the segment files of some videos, which are about to be used.

    Raises:
        StageError: some are damaged or missing; the next run of stage `segment` computes them.
    """
    found = require_finished("segment", context.look(context.segment, expected_videos(context)))
    damaged = found.verify_files(set(video_ids))
    context.store.save_indexes()
    if damaged:
        raise StageError(
            f"The segment files of {len(damaged)} videos in {context.store.url!r} are damaged or "
            "missing: run again from stage 'segment', which writes them again.",
            details=tuple(f"video {video_id}" for video_id in damaged),
        )


def sources_of(context: Context) -> dict[str, SourceVideo]:
    """Return every video's file, the digest of its content, and where it must be cut.

    Only files are read that have changed since they were last read, or were read long ago.
    """
    if not context.sources:
        fill_sources(context, context.dataset.source_digests(source_index(context.store)))
    return dict(context.sources)


def fill_sources(context: Context, digests: Mapping[VideoId, str]) -> None:
    """Keep every video's file, digest and cut points in the context."""
    paths = context.dataset.paths()
    annotated = context.settings.segment.boundaries == "annotated"
    for video in context.videos:
        context.sources[video.video_id] = SourceVideo(
            path=paths[video.video_id].absolute(),  # for nodes with other working folders
            source_digest=digests[video.video_id],
            cut_points_ms=cut_points_of(video) if annotated else (),
        )


def verified_sources(context: Context) -> dict[str, SourceVideo]:
    """Return `sources_of`, with the files of the videos read that are still to be cut."""
    pending = context.look(context.segment, expected_videos(context)).pending
    index = source_index(context.store)
    context.dataset.read_again([VideoId(video_id) for video_id in pending], index)
    context.store.save_indexes()
    context.sources.clear()
    return sources_of(context)


def expected_videos(context: Context) -> dict[str, str]:
    """Return what `segment` expects: every video, with the digest of its content and cut points."""
    return {video_id: source.digest for video_id, source in sources_of(context).items()}


def read_segments(context: Context) -> dict[str, tuple[SegmentRecord, ...]]:
    """Read every usable video's segments, in order."""
    expected = expected_videos(context)
    grouped: dict[str, list[SegmentRecord]] = defaultdict(list)
    for row in read_rows(context, "segment", context.segment, SegmentRecord, expected):
        grouped[row.video_id].append(row)
    return {
        video_id: tuple(sorted(grouped[video_id], key=lambda segment: segment.index))
        for video_id in expected
        if video_id in grouped
    }


def read_frame_times(context: Context) -> list[FrameTimesRecord]:
    """Read the times of every usable video's frames."""
    expected = expected_videos(context)
    return read_rows(context, "segment", context.segment, FrameTimesRecord, expected)


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
    expected = expected_transcripts(context, segments)
    rows = read_rows(context, "transcribe", context.transcribe, TranscriptRecord, expected)
    return join_inputs(context, segments, rows)


def join_inputs(
    context: Context,
    segments: Mapping[str, tuple[SegmentRecord, ...]],
    rows: Iterable[TranscriptRecord],
) -> dict[str, VideoInputs]:
    """Join the segments and annotation of each video with its transcript."""
    sources, transcripts = sources_of(context), {row.video_id: row for row in rows}
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
    samples = read_rows(context, "manifest", context.manifest, SampleRecord, expected)
    return ManifestRows(
        expected_transcripts=expected_transcripts(context, segments),
        expected=expected,
        samples=tuple(sorted(samples, key=lambda sample: (sample.video_id, sample.index))),
        hashes=tuple(context.look(context.segment, expected_videos(context)).read(MediaHashRecord)),
    )


def check_leakage(context: Context, manifest: ManifestRows) -> None:
    """Raise if the manifest's splits leak.

    Several stages of a run check the same manifest, and comparing all recordings takes seconds: the
    first one's result counts for all.

    Raises:
        LeakageError: as `check_no_leakage`.
    """
    if manifest.expected not in context.leak_free:
        check_no_leakage(manifest.samples, manifest.hashes, context.accepted_duplicates)
        context.leak_free.append(manifest.expected)


def expected_class_plan(context: Context, manifest: ManifestRows) -> dict[str, str]:
    """Return the class plan's item, with the digest of the training samples."""
    return manifest_stage.expected_plan(manifest.samples, context.settings.manifest)


def read_class_plan(context: Context, manifest: ManifestRows) -> tuple[ClassPlanRecord, ...]:
    """Read how much each class counts in training."""
    expected = expected_class_plan(context, manifest)
    return tuple(read_rows(context, "manifest", context.manifest, ClassPlanRecord, expected))
