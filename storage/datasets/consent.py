"""Consent: which videos' rows may be exported for which purpose.

Participants answer two consent questions, and every row carries both answers. An export for a
purpose contains only rows of participants who agreed to it; an unknown answer does not count as
consent.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

from storage.records import VideoId

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
    return _SPELLINGS.get(text.strip().lower())


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
