"""Find a data folder's label table by name: `labels` with the suffix of a table, in any case."""

from collections.abc import Iterator
from pathlib import Path, PurePath

from storage.errors import DataError
from storage.identity import name_key
from storage.issues import Issue, IssueKind
from storage.paths import VIDEO_SUFFIXES

LABEL_FILES = ("labels.csv", "labels.tsv", "labels.parquet")
_STEM = "labels"
_SPREADSHEETS = frozenset(
    {".fods", ".gnumeric", ".numbers", ".ods", ".xls", ".xlsb", ".xlsm", ".xlsx"}
)
_REMEDY = "save it as `labels.csv` (in a spreadsheet, as `CSV UTF-8`)"


def find_label_file(root: Path) -> Path | None:
    """Return the path of a data folder's label table, or ``None``.

    Raises:
        DataError: there are two tables, one that is no file, or a spreadsheet alone.
    """
    found = [root / name for name in label_file_names(root)]
    for path in found:
        if not path.is_file():
            raise DataError(
                f"{path.name!r} in the data folder is not a file: name the label table "
                f"{' or '.join(LABEL_FILES)}, and move this elsewhere."
            )
    if len(found) > 1:
        raise DataError(
            f"The data folder contains both {' and '.join(path.name for path in found)}, which may "
            "differ: remove all but one of them."
        )
    spreadsheets = [path for path in _others(root) if path.suffix.lower() in _SPREADSHEETS]
    if spreadsheets and not found:
        raise DataError(
            f"{spreadsheets[0].name!r} in the data folder is a spreadsheet, which is not read: "
            f"{_REMEDY}, or move it elsewhere to use the videos without labels."
        )
    return found[0] if found else None


def label_file_names(root: Path) -> tuple[str, ...]:
    """List the names in a folder that are a label table's, in any spelling."""
    return tuple(name for name in _names(root) if name_key(name) in LABEL_FILES)


def ignored_label_files(root: Path) -> Iterator[Issue]:
    """Yield an issue for each file that is named like a label table, but is not read."""
    for path in _others(root):
        message = f"{path.name!r} is not read: {_REMEDY}, or move it elsewhere"
        yield Issue(IssueKind.LABEL_FILE_IGNORED, message)


def _others(root: Path) -> list[Path]:
    """List files named like a label table, of any suffix that is not read."""
    names = [name for name in _names(root) if name_key(PurePath(name).stem) == _STEM]
    paths = [root / name for name in names if name_key(name) not in LABEL_FILES]
    return [p for p in paths if p.suffix.lower() not in VIDEO_SUFFIXES and p.is_file()]


def _names(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir())
    except OSError:
        return []
