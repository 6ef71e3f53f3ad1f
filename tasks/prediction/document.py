"""The answer of `waver predict`, as JSON for programs and as a flat table for spreadsheets.

The JSON document, whose keys are only ever added to (`schema` moves if one changes its meaning):

    schema          "waver.predict/1"
    waver_version   version of Waver
    created_at         when the answer was put together: ISO 8601, UTC
    model           {name: as it was given, fingerprint: digest of its weights and settings,
                     members: of an ensemble each model's {name, fingerprint, variant: its own
                     results of infer in the store}, whose mean log-odds count; else empty}
    profile         name of the profile
    variants        {segment, transcribe, manifest, infer}: which results of the store these are
    rule            {pooling_rule, top_k: null unless the rule is top_k_mean, threshold,
                     chosen_on: "validation" | "nothing", reason: a sentence}
    warnings        sentences about the whole call
    videos          in the order in which they were named, each:
        path          whole path of the file, links resolved
        file_digest   digest of its content (BLAKE2b, 16 bytes), or "unreadable"
        duration_ms   null where it was rejected
        rejected      null, or why there is no answer
        warnings      sentences about the file, as of a damaged part or of no sound
        verdict       {present, p_ah, pooling_rule, threshold, num_segments, num_predicted};
                      `present` says whether p_ah >= threshold; null without any answer
        segments      in order of time, each:
            index, start_ms, end_ms    half-open [start_ms, end_ms) on the video's own clock
            transcript                 what was said, "" where nothing was
            p_ah                       probability of A/H in [0, 1]; null where it was rejected
            answer_mass                probability of the whole vocabulary on Yes and No together
            has_video, has_audio     what the model was given, beside the words; the call's
                                       `warnings` say of how many it was damaged
            rejected                   null, or why there is no answer
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from storage.schema import to_table

SCHEMA = "waver.predict/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedSegment:
    """One segment's answer."""

    index: int
    start_ms: int
    end_ms: int
    transcript: str
    p_ah: float | None
    answer_mass: float | None
    has_video: bool
    has_audio: bool
    rejected: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A video's verdict; ``present`` and ``p_ah`` are ``None`` without a single answer."""

    present: bool | None
    p_ah: float | None
    pooling_rule: str
    threshold: float
    num_segments: int
    num_predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedVideo:
    """One file's answer."""

    path: str
    file_digest: str
    duration_ms: int | None
    rejected: str | None
    warnings: tuple[str, ...]
    verdict: Verdict
    segments: tuple[PredictedSegment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How answers become verdicts, and what that was chosen on."""

    pooling_rule: str
    top_k: int | None
    threshold: float
    chosen_on: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of an ensemble, and the variant of its own answers."""

    name: str
    fingerprint: str
    variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model that was asked, or the models that answered together."""

    name: str
    fingerprint: str
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDocument:
    """All that one call answers."""

    schema: str
    waver_version: str
    created_at: str
    model: Model
    profile: str
    variants: dict[str, str]
    rule: Rule
    warnings: tuple[str, ...]
    videos: tuple[PredictedVideo, ...]

    @property
    def num_rejected(self) -> int:
        """How many videos and segments have no answer."""
        reasons = [video.rejected for video in self.videos]
        reasons += [segment.rejected for video in self.videos for segment in video.segments]
        return len(reasons) - reasons.count(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRow:
    """One segment in the flat table; a video without segments has one row, without times."""

    path: str
    file_digest: str
    verdict: int | None
    video_p_ah: float | None
    pooling_rule: str
    threshold: float
    index: int | None
    start_ms: int | None
    end_ms: int | None
    transcript: str | None
    p_ah: float | None
    answer_mass: float | None
    has_video: bool | None
    has_audio: bool | None
    rejected: str | None
    model: str
    model_fingerprint: str
    waver_version: str


def to_json(predicted: PredictionDocument) -> str:
    """Write the document."""
    return json.dumps(asdict(predicted), ensure_ascii=False, indent=2)


def flat_table(predicted: PredictionDocument) -> pa.Table:
    """Lay the answers out, a row a segment."""
    return to_table(PredictedRow, _rows(predicted))


def _rows(predicted: PredictionDocument) -> Iterator[PredictedRow]:
    for video in predicted.videos:
        segments: Sequence[PredictedSegment | None] = video.segments or (None,)
        for segment in segments:
            yield _row(predicted, video, segment)


def _row(
    predicted: PredictionDocument, video: PredictedVideo, segment: PredictedSegment | None
) -> PredictedRow:
    return PredictedRow(
        path=video.path,
        file_digest=video.file_digest,
        verdict=None if video.verdict.present is None else int(video.verdict.present),
        video_p_ah=video.verdict.p_ah,
        pooling_rule=video.verdict.pooling_rule,
        threshold=video.verdict.threshold,
        index=segment.index if segment else None,
        start_ms=segment.start_ms if segment else None,
        end_ms=segment.end_ms if segment else None,
        transcript=segment.transcript if segment else None,
        p_ah=segment.p_ah if segment else None,
        answer_mass=segment.answer_mass if segment else None,
        has_video=segment.has_video if segment else None,
        has_audio=segment.has_audio if segment else None,
        rejected=segment.rejected if segment else video.rejected,
        model=predicted.model.name,
        model_fingerprint=predicted.model.fingerprint,
        waver_version=predicted.waver_version,
    )
