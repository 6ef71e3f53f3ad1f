"""Match the names in a label table to the video files of its folder."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

from storage.datasets.table.rows import TableRow
from storage.errors import DataError
from storage.identity import quote_spelling, video_key
from storage.paths import reason_not_found, resolve_inside


class VideoNames:
    """The video files under a root, found by the spelling of a table's cells.

    A file with exactly the name in the cell is taken, else the only file of another spelling of it:
    macOS stores accents decomposed, and a spreadsheet may turn a blank into a non-breaking one.
    """

    def __init__(self, root: Path, paths: tuple[str, ...]) -> None:
        self._root, self._paths = root, frozenset(paths)
        self._example = paths[0] if paths else "a.mp4"
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self._by_key[video_key(path)].append(path)
        self._cells: dict[str, tuple[str, str]] = {}

    def video_of(self, row: TableRow) -> str:
        """Return the path of the video that a row is about.

        Raises:
            DataError: the cell is empty or no path below the root; there is no such video, or there
                are several spellings of it; or two rows spell one video in two ways.
        """
        cell = row.cell("video")
        if not cell:
            raise DataError(
                f"{row.location}: video is empty: expected a video file's path from the data "
                "folder."
            )
        try:
            resolve_inside(self._root, cell)
        except DataError as error:
            raise DataError(f"{row.location}: {error}") from error
        name = PurePosixPath(cell).as_posix()
        path = name if name in self._paths else self._respelled(row, name)
        known, location = self._cells.setdefault(path, (name, row.location))
        if known != name:
            raise DataError(
                f"{row.location}: the video {quote_spelling(name)} is spelled "
                f"{quote_spelling(known)} at {location}: use one spelling for one file."
            )
        return path

    def _respelled(self, row: TableRow, name: str) -> str:
        paths = self._by_key.get(video_key(name), [])
        if len(paths) == 1:
            return paths[0]
        if paths:
            raise DataError(
                f"{row.location}: the video {quote_spelling(name)} may be any of "
                f"{' and '.join(map(quote_spelling, paths))}: use the spelling of one of them."
            )
        reason = reason_not_found(self._root, name)
        if reason:
            raise DataError(f"{row.location}: the video {name!r} cannot be used: {reason}.")
        raise DataError(
            f"{row.location}: there is no video {name!r} in the data folder: expected a video "
            f"file's path from there, with forward slashes, such as {self._example!r}."
        )
