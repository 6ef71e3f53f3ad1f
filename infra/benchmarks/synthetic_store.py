"""A store with every stage's results for synthetic videos, written as the stages write them.

The videos are copies of one, a segment's files hold a few bytes each, and rows describe one-second
videos of one segment: nothing here is cut, transcribed or predicted. Records, parts, digests,
splits and samples come from the code of the stages and of the store.
"""

import hashlib
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from flows.context.context import Context, context_of
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
from flows.running.stage import bounded_shard_size
from storage.fingerprint import digest_bytes
from storage.media_records import (
    FrameTimesRecord,
    MediaFacts,
    MediaHashRecord,
    SegmentRecord,
)
from storage.paths import path_key
from storage.records import (
    SegmentId,
    TranscriptRecord,
    VideoId,
    Word,
)
from storage.results import PredictionRecord
from storage.store.variant import ItemOutput, Variant
from tasks.aggregate import aggregate_shard
from tasks.inference.samples import expected_items
from tasks.manifest import sample_videos
from tasks.media.audio.command import audio_name
from tasks.media.video.command import video_name
from tasks.stage import Shard

_VIDEOS_PER_FOLDER = 100
_SECOND_MS = 1_000
_FPS = 25
_PREDICTIONS_PER_PART = 256  # as many as an engine commits at once at 25 segments per second


def write_videos(root: Path, count: int) -> None:
    """Write ``count`` copies of one video of a second, each with its number in a box of its own."""
    root.mkdir(parents=True)
    video = _one_second(root / "video.mp4")
    for number in range(count):
        path = root / f"{number // _VIDEOS_PER_FOLDER:04d}" / f"{number:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video + struct.pack(">I4sQ", 16, b"free", number))


def _one_second(path: Path) -> bytes:
    """Encode one second of gray frames; the file is removed."""
    scene = ("-f", "lavfi", "-i", f"color=gray:s=64x48:r={_FPS}:d={_SECOND_MS // 1_000}")
    subprocess.run(("ffmpeg", "-v", "error", *scene, "-c:v", "libx264", str(path)), check=True)
    content = path.read_bytes()
    path.unlink()
    return content


def write_results(request: RunRequest) -> None:
    """Write the results of all stages for the videos of a request that names its model."""
    with context_of(request) as context:
        _write_segments(context)
        segments = read_segments(context)
        transcripts = expected_transcripts(context, segments)
        per_part = _videos_per_part(context)
        _commit(context.transcribe, transcripts, _transcript, per_part)
        inputs = read_video_inputs(context, segments)
        config = context.settings.manifest
        expected = {video_id: of_video.digest for video_id, of_video in inputs.items()}
        for items in _batches(list(inputs), per_part):
            context.manifest.commit(sample_videos(items, inputs, config), expected)
        manifest = read_manifest(context)
        predicted = expected_items(manifest.samples)
        predictions = resolve_models(context, manifest).variant
        _commit(predictions, predicted, _prediction, _PREDICTIONS_PER_PART)
        report = open_report(context)
        shard = Shard(name="1 of 1", expected=report.expected)
        aggregate_shard.fn(shard, report.sources, context.settings.aggregate, report.variant)


def _videos_per_part(context: Context) -> int:
    """Return how many videos the stages commit at once if each shard is committed whole."""
    num_videos = len(context.dataset.videos)
    return bounded_shard_size(num_videos, context.settings.resources.shard_videos)


def _write_segments(context: Context) -> None:
    expected = expected_videos(context)
    for items in _batches(list(expected), _videos_per_part(context)):
        with context.store.staging() as folder:
            outputs = [_cut(context.segment, item, expected[item], folder) for item in items]
            context.segment.commit(outputs, expected)


def _cut(variant: Variant, item: str, digest: str, folder: Path) -> ItemOutput:
    """Return the rows of one second of video and audio as a single segment, with its two files."""
    own = folder / path_key(item)
    own.mkdir()
    stored = variant.file_path(f"{Path(item).stem}-{path_key(item)}-{digest[:12]}")
    names = (video_name(0), audio_name(0))
    contents = [f"{name} of {item}".encode() for name in names]
    for name, content in zip(names, contents, strict=True):
        (own / name).write_bytes(content)
    video_id = VideoId(item)
    hashes = hashlib.shake_128(item.encode()).digest(8 + 32 * 8)  # of one second
    rows = (
        MediaFacts(
            video_id=video_id, source_digest=digest, duration_ms=_SECOND_MS, num_frames=_FPS,
            width=64, height=48, has_audio=True,
        ),
        FrameTimesRecord(
            video_id=video_id, frame_ms=tuple(range(0, _SECOND_MS, _SECOND_MS // _FPS)),
            end_ms=_SECOND_MS,
        ),
        MediaHashRecord(video_id=video_id, motion=hashes[:8], audio=hashes[8:]),
        SegmentRecord(
            segment_id=SegmentId(f"{item}#0000"), video_id=video_id, index=0, start_ms=0,
            end_ms=_SECOND_MS, num_frames=_FPS, num_samples=16_000,
            video_path=f"{stored}/{names[0]}", audio_path=f"{stored}/{names[1]}",
            video_digest=digest_bytes(contents[0]), audio_digest=digest_bytes(contents[1]),
        ),
    )  # fmt: skip
    return ItemOutput(
        item_id=item, rows=rows, files={f"{stored}/{name}": own / name for name in names}
    )


def _transcript(item: str) -> ItemOutput:
    words = tuple(
        Word(text=text, start_ms=start, end_ms=start + 250, probability=0.9)
        for text, start in (("maybe", 100), ("later", 600))
    )
    row = TranscriptRecord(video_id=VideoId(item), language="en", words=words, pauses=())
    return ItemOutput(item_id=item, rows=(row,))


def _prediction(item: str) -> ItemOutput:
    row = PredictionRecord(
        segment_id=SegmentId(item), video_id=VideoId(item.rpartition("#")[0]), p_ah=0.25,
        logp_yes=-1.4, logp_no=-0.3, answer_mass=1.0, num_text_tokens=70, num_video_tokens=8,
        num_audio_tokens=13,
    )  # fmt: skip
    return ItemOutput(item_id=item, rows=(row,))


def _commit(
    variant: Variant,
    expected: Mapping[str, str],
    output_of: Callable[[str], ItemOutput],
    per_part: int,
) -> None:
    for items in _batches(list(expected), per_part):
        variant.commit(map(output_of, items), expected)


def _batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
