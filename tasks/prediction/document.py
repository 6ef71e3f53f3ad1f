"""Result of `waver predict`: a JSON document for programs and a flat table for spreadsheets.

Keys of the JSON document; new ones may be added, and `schema` changes when one changes its meaning:

    schema          "waver.predict/2"
    waver_version   version of Waver
    created_at      time of creation: ISO 8601, UTC
    model           {name: as on the command line, fingerprint: digest of weights and config,
                     members: for an ensemble, whose members' log-odds are averaged, each model's
                     {name, fingerprint, variant: its variant of stage infer}; else empty}
    profile         name of the profile
    variants        {segment, transcribe, manifest, infer}: the variants of these results
    rule            {pooling_rule, top_k: null unless the rule is top_k_mean, threshold,
                     chosen_on: "validation" | "nothing", reason: a sentence}
    warnings        sentences about the whole call
    videos          in the order of the command line, each:
        path          absolute path of the file, links resolved
        file_digest   digest of its content (BLAKE2b, 16 bytes), or "unreadable"
        duration_ms   null if the video was rejected
        rejected      null, or why there is no prediction
        warnings      sentences about the file, for example about damage or missing audio
        verdict       {present, p_ah, pooling_rule, threshold, num_segments, num_predicted};
                      `present` is whether p_ah >= threshold; null without any prediction
        segments      in order of time, each:
            index, start_ms, end_ms   half-open [start_ms, end_ms) of the video
            transcript                recognized speech, "" if there is none
            p_ah                      probability of A/H in [0, 1]; null if rejected
            answer_mass               probability of the tokens Yes and No among all tokens
            has_video, has_audio      whether the model's input had the segment's video and audio;
                                      `warnings` of the call count those left out as damaged
            rejected                  null, or why there is no prediction
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from storage.schema import to_table

SCHEMA = "waver.predict/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedSegment:
    """One segment's prediction."""

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
    """A video's verdict; ``present`` and ``p_ah`` are ``None`` without any prediction."""

    present: bool | None
    p_ah: float | None
    pooling_rule: str
    threshold: float
    num_segments: int
    num_predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedVideo:
    """One file's verdict and segments."""

    path: str
    file_digest: str
    duration_ms: int | None
    rejected: str | None
    warnings: tuple[str, ...]
    verdict: Verdict
    segments: tuple[PredictedSegment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRule:
    """The pooling rule and threshold of the verdicts, and what they were chosen on."""

    pooling_rule: str
    top_k: int | None
    threshold: float
    chosen_on: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of an ensemble and the variant of its predictions."""

    name: str
    fingerprint: str
    variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model, or the ensemble, behind the predictions."""

    name: str
    fingerprint: str
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDocument:
    """Result of one call of `waver predict`."""

    schema: str
    waver_version: str
    created_at: str
    model: Model
    profile: str
    variants: dict[str, str]
    rule: VerdictRule
    warnings: tuple[str, ...]
    videos: tuple[PredictedVideo, ...]

    @property
    def num_rejected(self) -> int:
        """Number of rejected videos and segments."""
        reasons = [video.rejected for video in self.videos]
        reasons += [segment.rejected for video in self.videos for segment in video.segments]
        return len(reasons) - reasons.count(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRow:
    """One segment in the flat table; a video without segments has one row without times."""

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


def to_json(document: PredictionDocument) -> str:
    """Return the document as indented JSON."""
    return json.dumps(asdict(document), ensure_ascii=False, indent=2)


def flat_table(document: PredictionDocument) -> pa.Table:
    """Return the document as a table with one row per segment."""
    return to_table(PredictedRow, _rows(document))


def _rows(document: PredictionDocument) -> Iterator[PredictedRow]:
    for video in document.videos:
        segments: Sequence[PredictedSegment | None] = video.segments or (None,)
        for segment in segments:
            yield _row(document, video, segment)


def _row(
    document: PredictionDocument, video: PredictedVideo, segment: PredictedSegment | None
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
        model=document.model.name,
        model_fingerprint=document.model.fingerprint,
        waver_version=document.waver_version,
    )
