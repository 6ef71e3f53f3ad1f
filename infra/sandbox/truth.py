"""Ground truth of each sandbox video, for measuring; no stage reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from infra.sandbox.espeak import SpokenWord
from infra.sandbox.plan import PlannedVideo, Statement
from storage.errors import DataError
from storage.records import VideoId

TRUTH_FOLDER = "truth"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTruth:
    """A video's statements, and its sentences and words with their times in the video."""

    video_id: VideoId
    voice: str
    statements: tuple[Statement, ...]
    sentences: tuple[SpokenWord, ...]
    words: tuple[SpokenWord, ...]


def truth_path(video: PlannedVideo) -> str:
    """Name a video's truth file, relative to the data root."""
    return f"{TRUTH_FOLDER}/{PurePosixPath(video.path).stem}.json"


def dump_truth(truth: VideoTruth) -> str:
    """Write a video's truth as JSON."""
    return json.dumps(asdict(truth), indent=1)


def load_truth(text: str) -> VideoTruth:
    """Read back what `dump_truth` wrote."""
    row = json.loads(text)
    return VideoTruth(
        video_id=VideoId(row["video_id"]),
        voice=row["voice"],
        statements=tuple(Statement(**statement) for statement in row["statements"]),
        sentences=tuple(SpokenWord(**sentence) for sentence in row["sentences"]),
        words=tuple(SpokenWord(**word) for word in row["words"]),
    )


def iter_truths(root: Path) -> Iterator[VideoTruth]:
    """Read every video's truth of the sandbox data set at `root`, by name.

    Raises:
        DataError: the folder is not a sandbox data set.
    """
    paths = sorted((root / TRUTH_FOLDER).glob("*.json"))
    if not paths:
        raise DataError(
            f"{str(root)!r} is not a sandbox data set (no {TRUTH_FOLDER}/*.json): create one with "
            "`python -m infra.sandbox.world --out DIR`."
        )
    for path in paths:
        yield load_truth(path.read_text(encoding="utf-8"))
