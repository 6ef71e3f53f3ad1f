"""Which videos have so little usable video or audio that a user should know."""

from collections.abc import Iterator
from dataclasses import dataclass

from storage.issues import IssueKind
from storage.media_records import AudioQuality, MediaFacts, VideoQuality
from tasks.media.audio.quality import AUDIBLE_DBFS

# Titles, fades and short connection failures are below these fractions of a video's duration.
_BLACK = 0.1
_FROZEN = 0.1
_MISSING = 0.1
# Noise gates make pauses digitally silent: a fluent speaker pauses for less than half.
_SILENT = 0.5
_CLIPPED = 0.005  # of the samples; speech reaches full scale in less than a thousandth


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityProblem:
    """A problem of a video's input, with the ``fraction`` of the video that it concerns."""

    kind: IssueKind
    fraction: float
    message: str


def quality_problems(facts: MediaFacts) -> list[QualityProblem]:
    """Return the problems of a decoded video, at most one of each kind."""
    problems = [] if facts.video_quality is None else video_problems(facts.video_quality)
    if facts.audio_quality is not None:
        problems += [*_missing_audio(facts.audio_quality), *level_problems(facts.audio_quality)]
        problems += _muted_audio(facts.audio_quality)
    if facts.dead_channel:
        message = "one of two audio channels is silent"
        problems.append(QualityProblem(kind=IssueKind.DEAD_CHANNEL, fraction=1.0, message=message))
    if facts.antiphase:
        message = "the two audio channels cancel each other"
        problems.append(
            QualityProblem(kind=IssueKind.ANTIPHASE_AUDIO, fraction=1.0, message=message)
        )
    return problems


def video_problems(quality: VideoQuality) -> list[QualityProblem]:
    """Return whether a video is black or frozen; a black one is frozen as well, which counts once.

    The messages are the warnings of the segment stage.
    """
    problems = []
    if quality.black_fraction >= _BLACK:
        problems.append(_problem(IssueKind.BLACK_VIDEO, quality.black_fraction, "is black"))
    if quality.frozen_fraction - quality.black_fraction >= _FROZEN:
        problems.append(_problem(IssueKind.FROZEN_VIDEO, quality.frozen_fraction, "is frozen"))
    return problems


def _problem(kind: IssueKind, fraction: float, state: str) -> QualityProblem:
    message = f"the video {state} for {fraction:.0%} of its duration"
    return QualityProblem(kind=kind, fraction=fraction, message=message)


def _missing_audio(quality: AudioQuality) -> Iterator[QualityProblem]:
    missing = 1 - quality.decoded_fraction
    if missing >= _MISSING:
        yield QualityProblem(
            kind=IssueKind.MISSING_AUDIO,
            fraction=missing,
            message=f"{missing:.0%} of the video's duration has no audio that decodes",
        )


def _muted_audio(quality: AudioQuality) -> Iterator[QualityProblem]:
    """Find audio of which much is digital silence; without any level it is a silent track."""
    if quality.silence_fraction >= _SILENT and quality.rms_dbfs > AUDIBLE_DBFS:
        yield QualityProblem(
            kind=IssueKind.SILENT_AUDIO,
            fraction=quality.silence_fraction,
            message=f"{quality.silence_fraction:.0%} of the audio are digital silence",
        )


def level_problems(quality: AudioQuality) -> list[QualityProblem]:
    """Return whether the audio that decodes is silent or clipped.

    The messages are the warnings of the segment stage.
    """
    problems = []
    if quality.decoded_fraction and quality.rms_dbfs <= AUDIBLE_DBFS:
        message = f"the audio is silent, at {quality.rms_dbfs:.0f} dBFS"
        problems.append(QualityProblem(kind=IssueKind.SILENT_AUDIO, fraction=1.0, message=message))
    if quality.clipped_fraction > _CLIPPED:
        fraction = quality.clipped_fraction
        message = f"{fraction:.1%} of the audio are clipped at full scale"
        problems.append(
            QualityProblem(kind=IssueKind.CLIPPED_AUDIO, fraction=fraction, message=message)
        )
    return problems
