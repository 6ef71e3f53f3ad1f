"""Consent: which videos' rows may be exported for which purpose.

Participants answer two consent questions, and every row carries both answers. An export for a
purpose contains only rows of participants who agreed to it; an unknown answer does not count as
consent.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar, get_args

from storage.identity import name_key, participant_key
from storage.issues import Issue, IssueKind
from storage.records import VideoId, VideoRecord

Purpose = Literal["internal", "publication", "challenge"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Consented(Protocol):
    """A row with its participant's answers; ``None`` is unknown."""

    @property
    def video_id(self) -> VideoId:
        """The video that the row is about."""

    @property
    def consent_publications(self) -> bool | None:
        """The answer to `Use in publications`."""

    @property
    def consent_challenges(self) -> bool | None:
        """The answer to `Use in challenges`."""


class OfVideo(Protocol):
    """Any row of one video."""

    @property
    def video_id(self) -> VideoId:
        """The video that the row is about."""


Row = TypeVar("Row", bound=OfVideo)

_SPELLINGS = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
_ANSWERS: Mapping[Purpose, Callable[[Consented], bool | None]] = {
    "internal": lambda row: True,  # noqa: ARG005 - internal use needs no consent
    "publication": lambda row: row.consent_publications,
    "challenge": lambda row: row.consent_challenges,
}


def read_answer(text: str) -> bool | None:
    """Parse a yes or no as data sets spell it; returns ``None`` for anything else."""
    return _SPELLINGS.get(name_key(text))


def strictest(answers: Iterable[bool | None]) -> bool | None:
    """Combine answers to one question: no before unknown before yes; unknown without any."""
    given = set(answers) or {None}
    return False if False in given else None if None in given else True


def reconcile(
    videos: Sequence[VideoRecord],
) -> tuple[tuple[VideoRecord, ...], tuple[Issue, ...]]:
    """Apply a participant's no to all of their videos, under every spelling of the id.

    Returns the videos, and an issue for each participant who answered both no and yes.
    """
    publications = _Answers.of(videos, "publications", lambda video: video.consent_publications)
    challenges = _Answers.of(videos, "challenges", lambda video: video.consent_challenges)
    reconciled: list[VideoRecord] = []
    for video in videos:
        publish = publications.of_video(video, video.consent_publications)
        challenge = challenges.of_video(video, video.consent_challenges)
        if (publish, challenge) != (video.consent_publications, video.consent_challenges):
            video = replace(video, consent_publications=publish, consent_challenges=challenge)
        reconciled.append(video)
    return tuple(reconciled), (*publications.issues(), *challenges.issues())


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers to one question by participant, each with a video that has it."""

    use: str
    by_participant: Mapping[str, Mapping[bool | None, VideoId]]

    @classmethod
    def of(
        cls, videos: Iterable[VideoRecord], use: str, read: Callable[[VideoRecord], bool | None]
    ) -> "_Answers":
        by_participant: dict[str, dict[bool | None, VideoId]] = defaultdict(dict)
        for video in videos:
            if video.participant_id is not None:
                answers = by_participant[participant_key(video.participant_id)]
                answers.setdefault(read(video), video.video_id)
        return cls(use, by_participant)

    def of_video(self, video: VideoRecord, answer: bool | None) -> bool | None:
        if video.participant_id is None:
            return answer
        key = participant_key(video.participant_id)
        return False if False in self.by_participant[key] else answer

    def issues(self) -> Iterator[Issue]:
        for answers in self.by_participant.values():
            if {True, False} <= answers.keys():
                text = f"use in {self.use} is no of {answers[False]!r} and yes of {answers[True]!r}"
                yield Issue(IssueKind.CONSENT_CONTRADICTED, f"{text}: taken as no")


def allowed(row: Consented, purpose: Purpose) -> bool:
    """Return whether a row may be exported for a purpose."""
    return _ANSWERS[purpose](row) is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Videos that may be exported for a purpose, those declined, and those of unknown consent."""

    purpose: Purpose
    allowed: frozenset[VideoId]
    declined: frozenset[VideoId]
    unknown: frozenset[VideoId]

    def keep(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows of the allowed videos."""
        return [row for row in rows if row.video_id in self.allowed]


def permission_of(rows: Iterable[Consented], purpose: Purpose) -> Permission:
    """Read the rows' answers; if rows of one video differ, the strictest counts."""
    answers: dict[VideoId, set[bool | None]] = {}
    for row in rows:
        answers.setdefault(row.video_id, set()).add(_ANSWERS[purpose](row))
    declined = frozenset(video for video, found in answers.items() if False in found)
    unknown = frozenset(video for video, found in answers.items() if None in found) - declined
    return Permission(
        purpose=purpose,
        allowed=frozenset(answers) - declined - unknown,
        declined=declined,
        unknown=unknown,
    )
