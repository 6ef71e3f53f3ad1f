"""Labels and predictions by frame, named as in the release: `<video>/frame-N.jpg`, N from 0."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from storage.datasets.consent import Purpose
from storage.media_records import FrameTimesRecord
from storage.records import SampleRecord, VideoRecord
from storage.results import PredictionRecord
from storage.schema import schema_of
from tasks.export.tables import apply_threshold
from tasks.labels.annotation import locate
from tasks.labels.frame_labels import labels_of_frames, values_of_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFrame:
    """A frame with its annotated label, and the probability and verdict of its segment.

    ``label`` is ``None`` if it is unknown whether it shows A/H, ``p_ah`` without a prediction.
    ``frame_ms`` is the frame's presentation time.
    """

    frame: str
    label: int | None
    p_ah: float | None
    verdict: int | None
    frame_ms: int
    split: str | None
    video_id: str
    purpose: str


FRAME_SCHEMA = schema_of(ExportedFrame)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramedVideo:
    """Annotation, frame times, samples and predictions of one video."""

    video: VideoRecord
    times: FrameTimesRecord
    samples: Sequence[SampleRecord]
    predictions: Sequence[PredictionRecord]


def frame_table(framed: FramedVideo, threshold: float, purpose: Purpose) -> pa.Table:
    """Build the table of a video's frames, in order."""
    video_id, times = framed.video.video_id, framed.times
    num_frames = len(times.frame_ms)
    p_ah = _p_ah_of_frames(framed)
    columns = {
        "frame": [f"{video_id}/frame-{number}.jpg" for number in range(num_frames)],
        "label": _labels(framed.video, times),
        "p_ah": p_ah,
        "verdict": [apply_threshold(value, threshold) for value in p_ah],
        "frame_ms": times.frame_ms,
        "split": [framed.samples[0].split if framed.samples else None] * num_frames,
        "video_id": [video_id] * num_frames,
        "purpose": [purpose] * num_frames,
    }
    return pa.Table.from_pydict(columns, schema=FRAME_SCHEMA)


def _labels(video: VideoRecord, times: FrameTimesRecord) -> Sequence[int | None]:
    annotation = locate(video, times.end_ms)
    return labels_of_frames(annotation.intervals, times, annotation.unknown)


def _p_ah_of_frames(framed: FramedVideo) -> Sequence[float | None]:
    p_ah_of = {row.segment_id: row.p_ah for row in framed.predictions}
    by_start = [(row.start_ms, p_ah_of.get(row.segment_id)) for row in framed.samples]
    return values_of_frames(by_start, framed.times)
