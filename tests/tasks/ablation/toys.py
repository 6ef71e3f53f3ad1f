"""Samples of which only whose they are, their content and their sound matter."""

from storage.fingerprint import digest_of
from storage.records import ParticipantId, SampleRecord, SegmentId, VideoId


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
    duration_ms: int = 4_000,
) -> SampleRecord:
    name, file = f"{video}#{index:04d}", content or video
    return SampleRecord(
        segment_id=SegmentId(name), video_id=VideoId(video),
        participant_id=None if participant is None else ParticipantId(participant), split=split,
        question=None, index=index, num_segments=2, start_ms=0, end_ms=duration_ms,
        video_path=f"{name}.mp4" if has_video else None,
        audio_path=f"{name}.wav" if has_audio else None,
        transcript="words", transcript_before="words", num_words=1, pause_ms=0, label=label,
        label_source="intervals", in_training=False, video_label=label, overlap_ms=0,
        overlap_fraction=0.0, consent_publications=None, consent_challenges=None,
        source_digest=digest_of(file), media_digest=digest_of(file, index),
        content_digest=digest_of(file, index),
    )  # fmt: skip
