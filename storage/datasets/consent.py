"""Who may see a video's rows: the one place that knows what participants agreed to.

A participant answers two questions on consent, and both answers travel with every row. What leaves
the house for a purpose holds the rows of those who said yes to it; an answer that is not known is
no yes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

from storage.records import VideoId

Purpose = Literal["internal", "publication", "challenge"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Consented(Protocol):
    """A row of one video that carries its participant's answers; ``None`` is unknown."""

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

_WRITTEN = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
_ANSWERS: Mapping[Purpose, Callable[[Consented], bool | None]] = {
    "internal": lambda row: True,  # noqa: ARG005 - what stays in the house is nobody's publication
    "publication": lambda row: row.consent_publications,
    "challenge": lambda row: row.consent_challenges,
}


def read_answer(written: str) -> bool | None:
    """Read an answer as data sets write it; ``None`` is neither yes nor no."""
    return _WRITTEN.get(written.strip().lower())


def allowed(row: Consented, purpose: Purpose) -> bool:
    """Say whether a row may be passed on for a purpose."""
    return _ANSWERS[purpose](row) is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Videos that may be exported for a purpose, those declined, and those of unknown consent."""

    purpose: Purpose
    allowed: frozenset[VideoId]
    declined: frozenset[VideoId]
    unknown: frozenset[VideoId]

    def keep(self, rows: Iterable[Row]) -> list[Row]:
        """Leave out every row of a video that may not be passed on."""
        return [row for row in rows if row.video_id in self.allowed]


def permission_of(rows: Iterable[Consented], purpose: Purpose) -> Permission:
    """Read the rows' own answers; where rows of one video differ, the strictest one holds."""
    answers: dict[VideoId, set[bool | None]] = {}
    for row in rows:
        answers.setdefault(row.video_id, set()).add(_ANSWERS[purpose](row))
    declined = frozenset(video for video, given in answers.items() if False in given)
    unknown = frozenset(video for video, given in answers.items() if None in given) - declined
    return Permission(
        purpose=purpose,
        allowed=frozenset(answers) - declined - unknown,
        declined=declined,
        unknown=unknown,
    )
