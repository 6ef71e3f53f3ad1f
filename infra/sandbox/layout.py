"""Write labels, splits, transcripts and participants' details in the BAH layout.

All values are invented; keys, nesting, tags and formats follow the data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from infra.sandbox.espeak import SpokenWord
from infra.sandbox.plan import FRAME_MS, PlannedParticipant, PlannedVideo, WorldPlan
from infra.sandbox.truth import VideoTruth
from storage.records import Interval, VideoId
from storage.store.atomic import atomic_file

ANNOTATION_FILE = "video_annotation_transcript.yaml"
PARTICIPANTS_FILE = "meta_data.yml"
_AGE_RANGES = ((18, 24), (25, 34), (35, 44), (45, 54), (55, 64), (65, 74))
_PROVINCES = ("Alberta", "British Columbia", "Nova Scotia", "Ontario", "Quebec")
_COUNTRIES = ("Arstotzka", "Canada", "Canada", "Canada", "Elbonia", "Freedonia")
_GROUPS = ("Group A", "Group B", "Group C", "Group D")
_NO_CONSENT_FRACTION = 0.12

_TUPLE_TAG = "tag:yaml.org,2002:python/tuple"


class _ReleaseDumper(yaml.CSafeDumper):
    """Writes tuples as the data set does, and never an alias."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_tuple(dumper: _ReleaseDumper, pair: tuple[Any, ...]) -> yaml.Node:
    return dumper.represent_sequence(_TUPLE_TAG, pair, flow_style=True)


_ReleaseDumper.add_representer(tuple, _represent_tuple)


def write_layout(root: Path, plan: WorldPlan, truths: Mapping[VideoId, VideoTruth]) -> None:
    """Write every file of the release but the videos, each atomically."""
    records = {str(v.video_id): annotate(v, truths[v.video_id]) for v in plan.videos}
    write_whole(root / ANNOTATION_FILE, _to_yaml(records))
    details = {str(p.participant_id): invent_details(p) for p in plan.participants}
    write_whole(root / PARTICIPANTS_FILE, _to_yaml(details))
    for video in plan.videos:
        transcript = records[str(video.video_id)]["transcript"]
        stem = PurePosixPath(video.path).stem
        write_whole(root / "transcription" / video.path / f"{stem}.yml", _to_yaml(transcript))
    for split in ("train", "val", "test"):
        videos = [video for video in plan.videos if video.participant.split == split]
        texts = (records[str(video.video_id)]["transcript"]["text"] for video in videos)
        rows = [f"{v.path},{v.label},{t}\n" for v, t in zip(videos, texts, strict=True)]
        write_whole(root / "split" / f"{split}.txt", "".join(rows))
        frames = [f"{path},{label}\n" for v in videos for path, label in iter_frame_labels(v)]
        write_whole(root / "split-frames" / f"{split}.txt", "".join(frames))
    write_whole(root / "version.txt", "sandbox\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path, flush=False) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def annotate(video: PlannedVideo, truth: VideoTruth) -> dict[str, Any]:
    """Return a video's record of the annotation file."""
    return {
        "all_cues": [_describe_cues(video, interval) for interval in video.intervals],
        "annotator_id": "AB",
        "certainty_ah": [1 + video.seed % 3 for _ in video.intervals],
        "fr_detailed_ah": [[i.start_ms // FRAME_MS, i.end_ms // FRAME_MS] for i in video.intervals],
        "frame_annotation": [[path, label] for path, label in iter_frame_labels(video)],
        "global_ah": video.label,
        "time_detailed_ah": [
            [format_time(i.start_ms), format_time(i.end_ms)] for i in video.intervals
        ],
        "transcript": _transcribe(truth.sentences),
    }


def format_time(time_ms: int) -> str:
    """Write a time as HH:MM:SS.mmm."""
    minutes, rest_ms = divmod(time_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest_ms // 1000:02d}.{rest_ms % 1000:03d}"


def iter_frame_labels(video: PlannedVideo) -> Iterator[tuple[str, int]]:
    """Label every frame, counted from 0, by the moment it appears."""
    for index in range(video.num_frames):
        at_ms = index * FRAME_MS
        inside = any(i.start_ms <= at_ms < i.end_ms for i in video.intervals)
        yield f"{video.path}/frame-{index}.jpg", int(inside)


def invent_details(participant: PlannedParticipant) -> dict[str, Any]:
    """Invent a participant's details; most consent to publications and challenges, some do not."""
    rng = np.random.default_rng([participant.seed, 1])
    low, high = _AGE_RANGES[rng.integers(len(_AGE_RANGES))]
    group = _GROUPS[rng.integers(len(_GROUPS))]
    return {
        "Age": int(rng.integers(low, high + 1)),
        "Age range": f"{low}-{high}",
        "Birth country": _COUNTRIES[rng.integers(len(_COUNTRIES))],
        "Canada province": _PROVINCES[rng.integers(len(_PROVINCES))],
        "Ethnicity": group,
        "Ethnicity simplified": group,
        "Gender": ("Female", "Male", "Non-binary")[rng.choice(3, p=(0.48, 0.48, 0.04))],
        "Is student": _answer(rng.random() < 0.3),
        "Use in challenges": _answer(rng.random() >= _NO_CONSENT_FRACTION),
        "Use in publications": _answer(rng.random() >= _NO_CONSENT_FRACTION),
    }


def _answer(yes: bool) -> str:
    return "Yes" if yes else "No"


def _describe_cues(video: PlannedVideo, interval: Interval) -> dict[str, Any]:
    statement = next(s for s in video.statements if s.start_ms == interval.start_ms)
    smiles = statement.face_stance > 0
    return {
        "audio": None if smiles else "lively voice",
        "body": None,
        "facial": ["smiles"] if smiles else ["mouth turned down", "lowered brows"],
        "inconsistencies": "face and voice disagree",
        "language": None,
    }


def _transcribe(sentences: Sequence[SpokenWord]) -> dict[str, Any]:
    texts = [f" {sentence.text.capitalize()}" for sentence in sentences]
    return {
        "chunks": [
            {
                "language": "english",
                "text": text,
                "timestamp": (sentence.start_ms / 1000, sentence.end_ms / 1000),
            }
            for text, sentence in zip(texts, sentences, strict=True)
        ],
        "text": ",".join(texts) + ".",
    }


def _to_yaml(content: Any) -> str:
    return yaml.dump(
        content, Dumper=_ReleaseDumper, default_flow_style=None, sort_keys=True, width=100_000
    )
