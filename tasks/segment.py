"""Stage 1, segment: videos in, segments of at most five seconds out.

In: source videos. Out: for each video its segments (H.264 video and sample-exact 16 kHz mono audio
as files in the store, one `SegmentRecord` each), its `MediaFacts`, the times of its frames
(`FrameTimesRecord`) and its perceptual hashes (`MediaHashRecord`); or a `RejectedRecord`. A segment
without audio has video only, and vice versa. The source is never modified.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from storage.datasets.dataset import digest_or_unreadable
from storage.errors import StageError
from storage.fingerprint import digest_file, digest_of
from storage.media_records import (
    FrameTimesRecord,
    MediaFacts,
    MediaHashRecord,
    SegmentRecord,
)
from storage.paths import stored_name
from storage.records import SegmentId, VideoId
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.media.audio.command import audio_name
from tasks.media.cut_video import CutVideo, cut_video
from tasks.media.plan import frames_ms
from tasks.media.rules import CutRules
from tasks.media.video.command import video_name
from tasks.stage import Shard, as_state, compute_missing, or_rejected

STAGE = "segment"
VERSION = 6


class SegmentConfig(BaseModel):
    """Settings that determine the content of segments."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_segment_ms: int = Field(default=5_000, ge=500, le=60_000)
    """Maximum length of a segment; a video is split into the fewest equal ones."""
    long_side: int = Field(default=448, ge=64, le=4096)
    """Longer side of a segment's video in pixels; smaller videos are not scaled up."""
    crf: int = Field(default=23, ge=0, le=51)
    """Constant rate factor of H.264: lower is better and larger."""
    min_decoded_fraction: float = Field(default=0.9, gt=0, le=1)
    """A video of which less than this fraction is present and decodes is rejected."""
    boundaries: Literal["fixed", "annotated"] = "fixed"
    """`fixed` splits all videos by the same rule; `annotated` also cuts training videos at the
    bounds of A/H intervals, as the paper does: segment lengths then leak the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVideo:
    """A video to cut: its file, the file's digest, and required cut points in milliseconds."""

    path: Path
    source_digest: str
    cut_points_ms: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """Digest of everything that determines the segments; without cut points, the file's own."""
        if not self.cut_points_ms:
            return self.source_digest
        return digest_of(self.source_digest, self.cut_points_ms)


class SegmentResources(BaseModel):
    """Resources of cutting; they do not change its result."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    child_memory_mb: int = Field(default=4096, ge=512)
    """Memory limit (address space, MiB) of one ffmpeg process; one runs per core."""


_DEFAULT_RESOURCES = SegmentResources()


def variant_of(store: Store, config: SegmentConfig) -> Variant:
    """Open the variant of these settings."""
    return open_variant(store, STAGE, version=VERSION, settings=config.model_dump())


def segment_videos(
    video_ids: Sequence[str],
    sources: Mapping[str, SourceVideo],
    config: SegmentConfig,
    variant: Variant,
    folder: Path,
    resources: SegmentResources = _DEFAULT_RESOURCES,
) -> Iterator[ItemOutput]:
    """Cut each video into ``folder``; a faulty one yields its rejection.

    Raises:
        StageError: a file does not match its digest, or changed meanwhile.
    """
    for video_id in video_ids:
        source = sources[video_id]
        compute = partial(_segment_video, video_id, source, config, variant, folder, resources)
        output = or_rejected(STAGE, video_id, compute)
        _check_unchanged(video_id, source)
        yield output


def _check_unchanged(video_id: str, source: SourceVideo) -> None:
    """Raise if a file changed while it was cut, so its segments are not stored under its digest."""
    if digest_or_unreadable(source.path) != source.source_digest:
        raise StageError(
            "A video file changed or was removed while it was being cut: run again when nothing "
            "writes to the data folder.",
            details=(f"video {video_id}",),
        )


def _segment_video(
    video_id: str,
    source: SourceVideo,
    config: SegmentConfig,
    variant: Variant,
    folder: Path,
    resources: SegmentResources,
) -> ItemOutput:
    name = stored_name(source.path, video_id, source.digest)
    own_folder = folder / name
    own_folder.mkdir()
    rules = CutRules(
        **config.model_dump(exclude={"boundaries"}), cut_points_ms=source.cut_points_ms
    )
    cut = cut_video(source.path, own_folder, rules, resources.child_memory_mb)
    segments = [
        _segment_record(video_id, cut, index, own_folder, variant.file_path(name))
        for index in range(len(cut.plan))
    ]
    stored = [path for s in segments for path in (s.video_path, s.audio_path) if path]
    return ItemOutput(
        item_id=video_id,
        rows=(*_video_rows(VideoId(video_id), source, cut), *segments),
        files={path: own_folder / Path(path).name for path in stored},
    )


def _video_rows(
    video_id: VideoId, source: SourceVideo, cut: CutVideo
) -> tuple[MediaFacts, FrameTimesRecord, MediaHashRecord]:
    """Describe a video as it was decoded."""
    last = max(cut.plan, key=lambda planned: (planned.has_video, planned.index))
    facts = MediaFacts(
        video_id=video_id,
        source_digest=source.source_digest,
        duration_ms=cut.plan[-1].end_ms,
        num_frames=len(cut.source.frame_times),
        width=cut.source.width,
        height=cut.source.height,
        has_audio=any(audio.is_written for audio in cut.audio),
        warnings=cut.warnings,
        video_quality=cut.video_quality,
        audio_quality=cut.audio_quality,
        dead_channel=cut.dead_channel,
        antiphase=cut.antiphase,
    )
    times = FrameTimesRecord(
        video_id=video_id,
        frame_ms=frames_ms(cut.source.frame_times),
        end_ms=last.end_ms,
    )
    hashes = MediaHashRecord(video_id=video_id, motion=cut.hashes.motion, audio=cut.hashes.audio)
    return facts, times, hashes


def _segment_record(
    video_id: str, cut: CutVideo, index: int, folder: Path, stored_folder: str
) -> SegmentRecord:
    """Describe one written segment."""
    planned = cut.plan[index]
    its_audio = cut.audio[index] if cut.audio else None
    video = video_name(index) if planned.has_video else None
    audio = audio_name(index) if its_audio and its_audio.is_written else None
    return SegmentRecord(
        segment_id=SegmentId(f"{video_id}#{planned.index:04d}"),
        video_id=VideoId(video_id),
        index=planned.index,
        start_ms=planned.start_ms,
        end_ms=planned.end_ms,
        num_frames=planned.num_frames,
        num_samples=planned.num_samples if audio else 0,
        video_path=video and f"{stored_folder}/{video}",
        audio_path=audio and f"{stored_folder}/{audio}",
        video_digest=video and digest_file(folder / video),
        audio_digest=audio and digest_file(folder / audio),
        video_quality=cut.frame_flags.quality(planned.start_ms, planned.end_ms)
        if video and cut.frame_flags
        else None,
        audio_quality=its_audio.quality if its_audio else None,
    )


@task(name="segment", task_run_name="segment shard {shard.title}", cache_policy=NO_CACHE)
def segment_shard(
    shard: Shard,
    sources: Mapping[str, SourceVideo],
    config: SegmentConfig,
    variant: Variant,
    resources: SegmentResources = _DEFAULT_RESOURCES,
) -> State:
    """Segment a shard's missing videos."""
    with variant.store.staging() as folder:
        return as_state(
            compute_missing(
                variant,
                shard,
                lambda video_ids: segment_videos(
                    video_ids, sources, config, variant, folder, resources
                ),
            )
        )
