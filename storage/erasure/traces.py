"""What identifies a participant in a store: the id, and the names of the participant's videos.

An id may be a number as short as a question's. It counts if it is the whole value of a
`participant...` column, or a path's folder or the start of a file name before `_`; never as part of
another number. The name of a video counts everywhere.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage.paths import path_key
from storage.records import TRANSCRIPT_COLUMNS

_TRANSCRIPTS = frozenset({*TRANSCRIPT_COLUMNS, "text"})  # columns where numbers are just numbers
_EDGE = r"""\s/"'<>()\[\],;:=#"""


@dataclass(frozen=True)
class Traces:
    """One participant's traces; ``other_videos`` are known to belong to other participants."""

    participant_id: str
    videos: frozenset[str]
    other_videos: frozenset[str] = frozenset()

    def in_text(self, text: str) -> bool:
        """Return whether text or a path names the participant or one of their videos."""
        return self.in_transcript(text) or self._path_step.search(text) is not None

    def in_transcript(self, text: str) -> bool:
        """Return whether a text whose numbers are not ids names one of their videos."""
        return self._video is not None and self._video.search(text) is not None

    def in_name(self, path: str) -> bool:
        """Return whether a stored path names them; stages put a video's key into file names."""
        return self.in_text(path) or (self._key is not None and bool(self._key.search(path)))

    def in_cell(self, column: str, value: str) -> bool:
        """Return whether a value of a table's column names them."""
        if column.startswith("participant"):
            return value == self.participant_id
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

    @cached_property
    def _video(self) -> re.Pattern[str] | None:
        # A file outside any folder may have the name of one inside a folder.
        names = [
            (r"(?<![\w.-])" if "/" in name else r"(?<![\w./-])") + re.escape(name)
            for name in sorted(self.videos)
        ]
        return re.compile(f"(?:{'|'.join(names)})(?!\\w)") if names else None

    @cached_property
    def _path_step(self) -> re.Pattern[str]:
        own = re.escape(self.participant_id)
        return re.compile(
            rf"(?:^|(?<=[{_EDGE}])){own}(?=[/_])|(?<=/){own}(?=$|[{_EDGE}])", re.MULTILINE
        )

    @cached_property
    def _key(self) -> re.Pattern[str] | None:
        keys = sorted(path_key(name) for name in self.videos)
        return re.compile(f"(?<![0-9a-z])(?:{'|'.join(keys)})(?![0-9a-z])") if keys else None


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
