"""What gives a participant away in a store: the id, and the names of the participant's videos.

A participant's id may be a number as short as a question's: it counts where it is the whole of a
`participant...` column, or stands in a path as a folder or as the beginning of a name before `_`;
never inside another number. The name of a video counts wherever it stands.
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

_SPOKEN = frozenset(
    {*TRANSCRIPT_COLUMNS, "text"}
)  # columns of what was said, where numbers are just numbers
_EDGE = r"""\s/"'<>()\[\],;:=#"""


@dataclass(frozen=True)
class Traces:
    """One participant's traces; ``other_videos`` are known to be of other participants."""

    participant_id: str
    videos: frozenset[str]
    other_videos: frozenset[str] = frozenset()

    def in_text(self, text: str) -> bool:
        """Say whether prose, or a path, names the participant or a video of theirs."""
        return self.in_speech(text) or self._path_step.search(text) is not None

    def in_speech(self, text: str) -> bool:
        """Say whether a text in which numbers mean nothing names a video of theirs."""
        return self._video is not None and self._video.search(text) is not None

    def in_name(self, path: str) -> bool:
        """Say whether a stored file's path names them; stages mark files by their video."""
        return self.in_text(path) or (self._mark is not None and bool(self._mark.search(path)))

    def in_cell(self, column: str, value: str) -> bool:
        """Say whether a value of a table's column names them."""
        if column.startswith("participant"):
            return value == self.participant_id
        if value in self.other_videos or value.rpartition("#")[0] in self.other_videos:
            return False
        return self.in_speech(value) if column in _SPOKEN else self.in_text(value)

    def in_row(self, row: Any, column: str = "") -> bool:
        """Say whether any value or name in a row, however deep, names them."""
        if isinstance(row, dict):
            return any(
                (isinstance(name, str) and self.in_text(name)) or self.in_row(value, name or "")
                for name, value in row.items()
            )
        if isinstance(row, list):
            return any(self.in_row(value, column) for value in row)
        return isinstance(row, str) and self.in_cell(column, row)

    def in_table(self, table: pa.Table) -> bool:
        """Say whether any row names them."""
        return any(
            self.in_cell(name, value)
            for name, strings in strings_of(table)
            for value in pc.unique(strings).to_pylist()
            if value is not None
        )

    @cached_property
    def _video(self) -> re.Pattern[str] | None:
        # What lies in no folder may have a namesake in one.
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
    def _mark(self) -> re.Pattern[str] | None:
        marks = sorted(path_key(name) for name in self.videos)
        return re.compile(f"(?<![0-9a-z])(?:{'|'.join(marks)})(?![0-9a-z])") if marks else None


def strings_of(table: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    """Give all strings of a table, however deep, by the innermost column that holds them."""
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
    """Say whether a column of this type holds strings, however deep."""
    if pa.types.is_list(arrow_type):
        return holds_strings(arrow_type.value_type)
    if pa.types.is_struct(arrow_type):
        return any(holds_strings(field.type) for field in arrow_type)
    return pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type)
