"""Stage 1, segment: videos in, segments of at most five seconds out.

In: source videos. Out: for each video its segments (H.264 picture and sample-exact 16 kHz mono
sound as files in the store, one `SegmentRecord` each) and its `MediaFacts`; or a `RejectedRecord`.
The source is only read.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import State
from pydantic import BaseModel, ConfigDict, Field

from storage.errors import ItemFault
from storage.fingerprint import digest_file, digest_of
from storage.records import MediaFacts, SegmentId, SegmentRecord, VideoId
from storage.store import Store
from storage.variant import ItemOutput, Variant
from tasks.media.cut import cut, picture_name, sound_name
from tasks.media.plan import PlannedSegment, plan_segments
from tasks.media.probe import SourceMedia, probe
from tasks.stage import Shard, as_state, make_missing, or_rejected

STAGE = "segment"
VERSION = 1


class SegmentConfig(BaseModel):
    """What decides the content of segments."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_segment_ms: int = Field(default=5_000, ge=500, le=60_000)
    """The longest segment; a video is split into the fewest equal ones."""
    long_side: int = Field(default=448, ge=64, le=4096)
    """Longer side of the kept picture in pixels; smaller pictures are not enlarged."""
    crf: int = Field(default=23, ge=0, le=51)
    """Constant rate factor of the kept H.264 picture: lower is better and larger."""
    min_decoded_share: float = Field(default=0.9, gt=0, le=1)
    """A video whose frames end before this share of its stated length is rejected."""


def variant_of(store: Store, config: SegmentConfig) -> Variant:
    """Open the variant that these settings make."""
    return store.variant(STAGE, version=VERSION, settings=config.model_dump())


def segment_videos(
    video_ids: Sequence[str],
    paths: Mapping[str, Path],
    config: SegmentConfig,
    variant: Variant,
    folder: Path,
) -> Iterator[ItemOutput]:
    """Cut each video into ``folder``; a video at fault yields its rejected row."""
    for video_id in video_ids:
        path = paths[video_id]
        yield or_rejected(
            STAGE, video_id, lambda: _segment_video(video_id, path, config, variant, folder)  # noqa: B023
        )


def _segment_video(
    video_id: str, path: Path, config: SegmentConfig, variant: Variant, folder: Path
) -> ItemOutput:
    source = probe(path)
    warnings = _truncation(source, config.min_decoded_share)
    plan = plan_segments(source.frame_times, source.end_time, config.max_segment_ms)
    name = f"{path.stem[:60].replace(' ', '_')}-{digest_of(video_id)[:8]}"
    own_folder = folder / name
    own_folder.mkdir()
    warnings += cut(
        source,
        plan,
        own_folder,
        long_side=config.long_side,
        crf=config.crf,
        timeout_seconds=60 + 10 * source.duration_seconds,
    )
    files: dict[str, Path] = {}
    segments = [
        _record(video_id, planned, source, own_folder, variant.file_path(name), files)
        for planned in plan
    ]
    facts = MediaFacts(
        video_id=VideoId(video_id),
        source_digest=digest_file(path),
        duration_ms=plan[-1].end_ms,
        num_frames=len(source.frame_times),
        width=source.width,
        height=source.height,
        has_sound=source.sound_stream is not None,
        warnings=tuple(warnings),
    )
    return ItemOutput(item_id=video_id, rows=(facts, *segments), files=files)


def _truncation(source: SourceMedia, min_decoded_share: float) -> list[str]:
    """Compare the stated length of the picture with the end of its frames."""
    stated, found = source.stated_seconds, source.duration_seconds
    if found < min_decoded_share * stated:
        raise ItemFault(
            f"truncated: the file states {stated:.2f} s of picture but its frames end after {found:.2f} s"
        )
    if stated - found > 0.5:
        return [f"the file states {stated:.2f} s of picture, its frames end after {found:.2f} s"]
    return []


def _record(
    video_id: str,
    planned: PlannedSegment,
    source: SourceMedia,
    folder: Path,
    stored_folder: str,
    files: dict[str, Path],
) -> SegmentRecord:
    """Describe one written segment and note its files for the store."""
    picture = folder / picture_name(planned.index)
    sound = folder / sound_name(planned.index) if source.sound_stream is not None else None
    picture_path = f"{stored_folder}/{picture.name}"
    sound_path = f"{stored_folder}/{sound.name}" if sound else None
    files[picture_path] = picture
    if sound and sound_path:
        files[sound_path] = sound
    return SegmentRecord(
        segment_id=SegmentId(f"{video_id}#{planned.index:04d}"),
        video_id=VideoId(video_id),
        index=planned.index,
        start_ms=planned.start_ms,
        end_ms=planned.end_ms,
        num_frames=planned.num_frames,
        num_samples=planned.num_samples if sound else 0,
        picture_path=picture_path,
        sound_path=sound_path,
        picture_digest=digest_file(picture),
        sound_digest=digest_file(sound) if sound else None,
    )


@task(name="segment", task_run_name="segment shard {shard.name}", cache_policy=NO_CACHE)
def segment_shard(
    shard: Shard, paths: Mapping[str, Path], config: SegmentConfig, variant: Variant
) -> State:
    """Segment a shard's missing videos."""
    with variant.store.staging() as folder:
        return as_state(
            make_missing(
                variant,
                shard,
                lambda video_ids: segment_videos(video_ids, paths, config, variant, folder),
            )
        )
