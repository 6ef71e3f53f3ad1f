"""Stage 1, segment: videos in, segments of at most five seconds out.

In: source videos. Out: for each video its segments (H.264 picture and sample-exact 16 kHz mono
sound as files in the store, one `SegmentRecord` each), its `MediaFacts`, the times of its frames
(`FrameTimesRecord`) and what it looks and sounds like (`MediaHashRecord`); or a `RejectedRecord`.
A video without sound has segments of picture alone, and the other way round. The source is only
read.
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
from storage.paths import path_key
from storage.records import (
    FrameTimesRecord,
    MediaFacts,
    MediaHashRecord,
    SegmentId,
    SegmentRecord,
    VideoId,
)
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.media.command import audio_name, video_name
from tasks.media.cut_video import CutRules, CutVideo, cut_video
from tasks.media.plan import PlannedSegment, frames_ms
from tasks.media.probe import SourceMedia
from tasks.stage import Shard, as_state, compute_missing, or_rejected

STAGE = "segment"
VERSION = 5


class SegmentConfig(BaseModel):
    """What decides the content of segments."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_segment_ms: int = Field(default=5_000, ge=500, le=60_000)
    """The longest segment; a video is split into the fewest equal ones."""
    long_side: int = Field(default=448, ge=64, le=4096)
    """Longer side of the kept picture in pixels; smaller pictures are not enlarged."""
    crf: int = Field(default=23, ge=0, le=51)
    """Constant rate factor of the kept H.264 picture: lower is better and larger."""
    min_decoded_fraction: float = Field(default=0.9, gt=0, le=1)
    """A video of which less than this share is there and decodes is rejected."""
    boundaries: Literal["fixed", "annotated"] = "fixed"
    """`annotated` cuts training videos at the bounds of A/H intervals too, as the paper does: their
    segments' lengths then leak the label. `blind` cuts all videos alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVideo:
    """A video to cut: its file, the file's digest, and the milliseconds at which it must be cut."""

    path: Path
    source_digest: str
    cut_points_ms: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of what goes into the video's segments; without marks, the file's own."""
        if not self.cut_points_ms:
            return self.source_digest
        return digest_of(self.source_digest, self.cut_points_ms)


class SegmentResources(BaseModel):
    """How cutting uses the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    child_memory_mb: int = Field(default=4096, ge=512)
    """Memory (address space, in MiB) that one ffmpeg may take; as many run as there are cores."""


_USUAL = SegmentResources()


def variant_of(store: Store, config: SegmentConfig) -> Variant:
    """Open the variant that these settings make."""
    return open_variant(store, STAGE, version=VERSION, settings=config.model_dump())


def segment_videos(
    video_ids: Sequence[str],
    sources: Mapping[str, SourceVideo],
    config: SegmentConfig,
    variant: Variant,
    folder: Path,
    resources: SegmentResources = _USUAL,
) -> Iterator[ItemOutput]:
    """Cut each video into ``folder``; one at fault yields its rejection.

    Raises:
        StageError: a file is not, or no longer, what its digest says.
    """
    for video_id in video_ids:
        source = sources[video_id]
        make = partial(_segment_video, video_id, source, config, variant, folder, resources)
        output = or_rejected(STAGE, video_id, make)
        _check_unchanged(video_id, source)
        yield output


def _check_unchanged(video_id: str, source: SourceVideo) -> None:
    """Keep what was made of another content from being written down under this digest."""
    if digest_or_unreadable(source.path) != source.source_digest:
        raise StageError(
            "The file of a video changed, or went away, while it was being cut: run again when "
            "nothing writes to the data folder any more.",
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
    stem = source.path.stem[:60].replace(" ", "_")
    name = f"{stem}-{path_key(video_id)}-{source.digest[:12]}"
    own_folder = folder / name
    own_folder.mkdir()
    rules = CutRules(
        **config.model_dump(exclude={"boundaries"}), cut_points_ms=source.cut_points_ms
    )
    done = cut_video(source.path, own_folder, rules, resources.child_memory_mb)
    segments = [
        _record(video_id, planned, done.source, own_folder, variant.file_path(name))
        for planned in done.plan
    ]
    stored = [path for s in segments for path in (s.video_path, s.audio_path) if path]
    return ItemOutput(
        item_id=video_id,
        rows=(*_rows_of_video(VideoId(video_id), source, done), *segments),
        files={path: own_folder / Path(path).name for path in stored},
    )


def _rows_of_video(
    video_id: VideoId, source: SourceVideo, done: CutVideo
) -> tuple[MediaFacts, FrameTimesRecord, MediaHashRecord]:
    """Describe a video as it was decoded: its facts, its frames' times, its prints."""
    end_ms = done.plan[-1].end_ms
    facts = MediaFacts(
        video_id=video_id,
        source_digest=source.source_digest,
        duration_ms=end_ms,
        num_frames=len(done.source.frame_times),
        width=done.source.width,
        height=done.source.height,
        has_audio=done.source.audio_stream is not None,
        warnings=done.warnings,
    )
    times = FrameTimesRecord(
        video_id=video_id, frame_ms=frames_ms(done.source.frame_times), end_ms=end_ms
    )
    seen, heard = done.hashes.video, done.hashes.audio
    return facts, times, MediaHashRecord(video_id=video_id, video=seen, audio=heard)


def _record(
    video_id: str, planned: PlannedSegment, source: SourceMedia, folder: Path, stored_folder: str
) -> SegmentRecord:
    """Describe one written segment."""
    video = None if source.video_stream is None else video_name(planned.index)
    audio = None if source.audio_stream is None else audio_name(planned.index)
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
    )


@task(name="segment", task_run_name="segment shard {shard.name}", cache_policy=NO_CACHE)
def segment_shard(
    shard: Shard,
    sources: Mapping[str, SourceVideo],
    config: SegmentConfig,
    variant: Variant,
    resources: SegmentResources = _USUAL,
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
