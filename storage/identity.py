"""Equality of names that different people and tools wrote: participants, videos, columns.

"José" may be typed composed or decomposed (macOS stores file names decomposed), with a
non-breaking or a double space, with an invisible character pasted along, or in other case; a
spreadsheet turns 007 into 7. Names are therefore compared by key, and displayed and stored as
spelled.

A false match of participants only groups more: their videos have one split, one resampling unit and
one erasure. `waver check` reports every pair of spellings, and `waver erase` lists those it covers
before it removes anything.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

# Default_Ignorable_Code_Point of Unicode 15 (DerivedCoreProperties.txt): invisible.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_CONTROL = "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # those that are no blank
_IGNORED = re.compile(f"[{_INVISIBLE}{_CONTROL}]")
_BLANKS = re.compile(r"[\s\u2800]+")  # every White_Space of Unicode, and the blank of Braille
_BLANK_AT_SLASH = re.compile(" ?/ ?")
_BLANK_AT_SUFFIX = re.compile(r" (\.[^./ ]*)$")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


class OfParticipant(Protocol):
    """A row of one video, whose participant may be unknown."""

    @property
    def video_id(self) -> str:
        """The video that the row is about."""

    @property
    def participant_id(self) -> str | None:
        """The participant as the data set spells it; ``None`` if unknown."""


@lru_cache(maxsize=1 << 16)
def name_key(name: str) -> str:
    """Return the key by which a name is compared: equal for all spellings of one name.

    A key is its own key.
    """
    return fold(name)


def fold(text: str) -> str:
    """Normalize a text of any length as `name_key` does, to search it for keys.

    Invisible characters are dropped, blanks of any kind and length become one space and none at
    either end, and letters are compared by canonical caseless matching (Unicode 3.13, D145), in
    composed form (NFC).
    """
    visible = _BLANKS.sub(" ", _IGNORED.sub("", text)).strip()
    if visible.isascii():
        return visible.lower()
    folded = unicodedata.normalize("NFD", visible).casefold()
    return unicodedata.normalize("NFC", folded)


def participant_key(participant_id: str) -> str:
    """Return the key by which participants are compared: `name_key` without leading zeros.

    Leading zeros of every number in an id are dropped: 007 is 7, and P07-01 is p7-1.
    """
    return _LEADING_ZEROS.sub("", name_key(participant_id))


def video_key(path: str) -> str:
    """Return the key by which videos' paths are compared: `name_key` of each step and suffix."""
    key = _BLANK_AT_SLASH.sub("/", fold(path))
    if "//" in key or "./" in key:
        key = str(PurePosixPath(key))
    return _BLANK_AT_SUFFIX.sub(r"\1", key)


def group_key(row: OfParticipant) -> str:
    """Return the key of a row's participant, or of its video if the participant is unknown."""
    if row.participant_id is None:
        return video_key(row.video_id)
    return participant_key(row.participant_id)


def spellings_by_key(participant_ids: Iterable[str | None]) -> dict[str, tuple[str, ...]]:
    """Map each participant's key to its spellings, sorted; ``None`` is ignored."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for participant_id in participant_ids:
        if participant_id is not None:
            spellings[participant_key(participant_id)].add(participant_id)
    return {key: tuple(sorted(found)) for key, found in spellings.items()}


def names_alike(path: Path) -> tuple[str, ...]:
    """Return the names in a path's folder that are other spellings of the path's name, sorted."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        return ()
    key = video_key(path.name)
    return tuple(name for name in names if name != path.name and video_key(name) == key)


def quote_spelling(name: str) -> str:
    r"""Quote a name so that its spelling can be seen: 'José', but 'Jose\u0301' if decomposed."""
    return repr(name) if unicodedata.is_normalized("NFC", name) else ascii(name)
