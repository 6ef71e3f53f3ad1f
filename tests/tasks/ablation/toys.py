"""Samples with chosen participants, content and modalities."""

from storage.fingerprint import digest_of
from storage.records import SampleRecord
from tests.builders import SEGMENT_MS, a_sample


def sample(
    video: str,
    index: int = 0,
    *,
    participant: str | None = None,
    has_audio: bool = True,
    has_video: bool = True,
    content: str | None = None,
    split: str = "test",
    label: int | None = None,
    duration_ms: int = SEGMENT_MS,
) -> SampleRecord:
    name, content = f"{video}#{index:04d}", content or video
    return a_sample(
        video, index, num_segments=2, participant_id=participant, split=split, label=label,
        start_ms=0, end_ms=duration_ms, transcript="words", transcript_before="words",
        video_path=f"{name}.mp4" if has_video else None,
        audio_path=f"{name}.wav" if has_audio else None,
        source_digest=digest_of(content), media_digest=digest_of(content, index),
        content_digest=digest_of(content, index),
    )  # fmt: skip
