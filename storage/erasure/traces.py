"""What identifies a participant in a store: the id, and the names of the participant's videos.

An id may be a number as short as a question's. It counts if it is the whole value of a
`participant...` column, or a path's folder or the start of a file name before `_`; never as part of
another number. The name of a video counts everywhere.

Any spelling counts (`storage.identity`), also with characters escaped as in JSON. Ids that differ
in leading zeros are one participant's if they are in a `participant...` column; in text, where
numbers are many, only the spellings that such columns contain count. A video's name counts exactly
as spelled if another participant's video has another spelling of it.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage.identity import fold, participant_key, video_key
from storage.paths import path_key
from storage.records import TRANSCRIPT_COLUMNS

_TRANSCRIPTS = frozenset({*TRANSCRIPT_COLUMNS, "text"})  # columns where numbers are just numbers
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_EDGE = r"""\s/"'<>()\[\],;:=#"""


@dataclass(frozen=True)
class Traces:
    """One participant's traces; ``other_videos`` are known to belong to other participants.

    ``other_spellings`` of the id are those found in columns and in the data set.
    """

    participant_id: str
    videos: frozenset[str]
    other_videos: frozenset[str] = frozenset()
    other_spellings: frozenset[str] = frozenset()

    @property
    def spellings(self) -> tuple[str, ...]:
        """All known spellings of the participant's id, sorted."""
        return tuple(sorted({self.participant_id, *self.other_spellings}))

    def is_participant(self, participant_id: str | None) -> bool:
        """Return whether an id is a spelling of the participant's."""
        return participant_id is not None and participant_key(participant_id) == self._participant

    def in_text(self, text: str) -> bool:
        """Return whether text or a path names the participant or one of their videos."""
        folded = _fold(text)
        return self._names_video(text, folded) or self._path_step.search(folded) is not None

    def in_transcript(self, text: str) -> bool:
        """Return whether a text whose numbers are not ids names one of their videos."""
        return self._names_video(text, _fold(text))

    def in_name(self, path: str) -> bool:
        """Return whether a stored path names them; stages put a video's key into file names."""
        return self.in_text(path) or (self._key is not None and bool(self._key.search(path)))

    def in_cell(self, column: str, value: str) -> bool:
        """Return whether a value of a table's column names them."""
        if column.startswith("participant"):
            return self.is_participant(value)
        if value in self.other_videos or value.rpartition("#")[0] in self.other_videos:
            return False
        return self.in_transcript(value) if column in _TRANSCRIPTS else self.in_text(value)

    def in_row(self, row: Any, column: str = "") -> bool:
        """Return whether any key or value in a nested row names them."""
        if isinstance(row, dict):
            return any(
                (isinstance(name, str) and self.in_text(name)) or self.in_row(value, name or "")
                for name, value in row.items()
            )
        if isinstance(row, list):
            return any(self.in_row(value, column) for value in row)
        return isinstance(row, str) and self.in_cell(column, row)

    def in_table(self, table: pa.Table) -> bool:
        """Return whether any row of a table names them."""
        return any(
            self.in_cell(name, value)
            for name, strings in strings_of(table)
            for value in pc.unique(strings).to_pylist()
            if value is not None
        )

    def _names_video(self, text: str, folded: str) -> bool:
        if self._exact_video is not None and self._exact_video.search(text):
            return True
        return self._folded_video is not None and self._folded_video.search(folded) is not None

    @cached_property
    def _participant(self) -> str:
        return participant_key(self.participant_id)

    @cached_property
    def _spelled_otherwise(self) -> frozenset[str]:
        """The videos whose name, spelled otherwise, is that of another participant's video."""
        keys = {video_key(name) for name in self.other_videos}
        return frozenset(name for name in self.videos if video_key(name) in keys)

    @cached_property
    def _exact_video(self) -> re.Pattern[str] | None:
        return _pattern_of_videos(self._spelled_otherwise)

    @cached_property
    def _folded_video(self) -> re.Pattern[str] | None:
        return _pattern_of_videos({fold(name) for name in self.videos - self._spelled_otherwise})

    @cached_property
    def _path_step(self) -> re.Pattern[str]:
        own = "|".join(re.escape(name) for name in sorted(set(map(fold, self.spellings))))
        return re.compile(
            rf"(?:^|(?<=[{_EDGE}]))(?:{own}) ?(?=[/_])|(?<=/) ?(?:{own})(?=$|[{_EDGE}])"
        )

    @cached_property
    def _key(self) -> re.Pattern[str] | None:
        keys = sorted(path_key(name) for name in self.videos)
        return re.compile(f"(?<![0-9a-z])(?:{'|'.join(keys)})(?![0-9a-z])") if keys else None


def _pattern_of_videos(videos: Collection[str]) -> re.Pattern[str] | None:
    # A file outside any folder may have the name of one inside a folder.
    names = [
        (r"(?<![\w.-])" if "/" in name else r"(?<![\w./-])") + re.escape(name)
        for name in sorted(videos)
    ]
    return re.compile(f"(?:{'|'.join(names)})(?!\\w)") if names else None


def _fold(text: str) -> str:
    """Normalize a text to search it for names; escaped characters count as themselves."""
    if "\\u" in text:
        units = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
        text = units.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return fold(text)


def strings_of(table: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    """Yield the strings of a table, with the innermost field that contains them."""
    for name in table.column_names:
        for chunk in table[name].chunks:
            yield from _strings_in(name, chunk)


def _strings_in(name: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        yield name, array
    elif pa.types.is_list(array.type):
        yield from _strings_in(name, array.flatten())
    elif pa.types.is_struct(array.type):
        fields = zip(array.type, array.flatten(), strict=True)
        for field, values in fields:
            yield from _strings_in(field.name, values)


def holds_strings(arrow_type: pa.DataType) -> bool:
    """Return whether a column type is a string, or a list or struct that contains one."""
    if pa.types.is_list(arrow_type):
        return holds_strings(arrow_type.value_type)
    if pa.types.is_struct(arrow_type):
        return any(holds_strings(field.type) for field in arrow_type)
    return pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type)
