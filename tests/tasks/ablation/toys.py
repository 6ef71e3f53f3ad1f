"""Samples of which only whose they are, their content and their sound matter."""

from storage.fingerprint import digest_of
from storage.records import ParticipantId, SampleRecord, SegmentId, VideoId


def sample(
    video: str,
    index: int = 0,
    *,
    participant: str | None = None,
    has_sound: bool = True,
    has_picture: bool = True,
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
        picture_path=f"{name}.mp4" if has_picture else None,
        sound_path=f"{name}.wav" if has_sound else None,
        words="words", words_before="words", num_words=1, pause_ms=0, label=label,
        label_source="intervals", in_training=False, video_label=label, overlap_ms=0,
        overlap_share=0.0, consent_publications=None, consent_challenges=None,
        source_digest=digest_of(file), media_digest=digest_of(file, index),
        content_digest=digest_of(file, index),
    )  # fmt: skip
