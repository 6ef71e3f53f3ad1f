"""Three files as the stages leave them: answered, rejected whole, and rejected in one segment."""

from storage.records import (
    MediaFacts,
    RejectedRecord,
    SampleRecord,
    SegmentId,
    VideoId,
    VideoRecord,
)
from storage.results import PredictionRecord
from tasks.prediction.verdicts import Answered

GOOD, BAD, HALF = "/in/good [1].mp4", "/in/bad.mp4", "/in/half.mp4"


def sample(name: str, index: int) -> SampleRecord:
    return SampleRecord(
        segment_id=SegmentId(f"{name}#{index:04d}"), video_id=VideoId(name), participant_id=None,
        split=None, question=None, index=index, num_segments=2, start_ms=2_000 * index,
        end_ms=2_000 * (index + 1), video_path="p", audio_path="s", transcript=f"words [{index}]",
        transcript_before="", num_words=2, pause_ms=0, label=None, label_source=None, in_training=False,
        video_label=None, overlap_ms=0, overlap_fraction=0.0, consent_publications=None,
        consent_challenges=None, source_digest="d", media_digest="m", content_digest="c",
    )  # fmt: skip


def prediction(name: str, index: int, p_ah: float) -> PredictionRecord:
    return PredictionRecord(
        segment_id=SegmentId(f"{name}#{index:04d}"), video_id=VideoId(name), p_ah=p_ah,
        logp_yes=-1.0, logp_no=-1.0, answer_mass=0.75, num_text_tokens=9,
        num_video_tokens=4, num_audio_tokens=0, has_video=True, has_audio=False,
    )  # fmt: skip


def facts(name: str, *warnings: str, has_audio: bool = True) -> MediaFacts:
    return MediaFacts(
        video_id=VideoId(name), source_digest="d", duration_ms=4_000, num_frames=8, width=4,
        height=4, has_audio=has_audio, warnings=warnings,
    )  # fmt: skip


ANSWERED = Answered(
    videos=[VideoRecord(video_id=VideoId(name), path=name) for name in (GOOD, BAD, HALF)],
    file_digests={GOOD: "digest of good", BAD: "digest of bad", HALF: "digest of half"},
    facts=[facts(GOOD, has_audio=False), facts(HALF, "a damaged part")],
    samples=[sample(name, index) for name in (GOOD, HALF) for index in (0, 1)],
    predictions=[prediction(GOOD, 0, 0.2), prediction(GOOD, 1, 0.6), prediction(HALF, 1, 0.9)],
    rejected=[
        RejectedRecord(item_id=BAD, stage="segment", reason="not a video"),
        RejectedRecord(item_id=f"{HALF}#0000", stage="infer", reason="no picture decodes"),
    ],
)
