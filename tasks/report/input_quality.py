"""The report's section on input quality: which videos are black, frozen, silent or clipped."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from storage.issues import IssueKind
from storage.media_records import MediaFacts
from storage.records import VideoId
from tasks.media.quality import quality_problems

_NUM_WORST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PoorVideo:
    """A video with problems of its input, by kind, the one that concerns most of it first."""

    video_id: VideoId
    problems: tuple[tuple[IssueKind, str], ...]
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputQuality:
    """Videos by problem of their input, and those with the most unusable input.

    ``counts`` are videos by kind of problem; ``worst`` are the first of ``num_poor`` videos.
    """

    num_videos: int = 0
    num_poor: int = 0
    counts: tuple[tuple[IssueKind, int], ...] = ()
    worst: tuple[PoorVideo, ...] = ()


def input_quality(media: Iterable[MediaFacts]) -> InputQuality:
    """Summarize the quality of all decoded videos."""
    videos = [_poor_video(facts) for facts in media]
    poor = sorted(
        (video for video in videos if video.problems),
        key=lambda video: (-video.fraction, -len(video.problems), video.video_id),
    )
    counts = Counter(kind for video in poor for kind, _ in video.problems)
    return InputQuality(
        num_videos=len(videos),
        num_poor=len(poor),
        counts=tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))),
        worst=tuple(poor[:_NUM_WORST]),
    )


def _poor_video(facts: MediaFacts) -> PoorVideo:
    problems = sorted(quality_problems(facts), key=lambda problem: -problem.fraction)
    return PoorVideo(
        video_id=facts.video_id,
        problems=tuple((problem.kind, problem.message) for problem in problems),
        fraction=problems[0].fraction if problems else 0.0,
    )
