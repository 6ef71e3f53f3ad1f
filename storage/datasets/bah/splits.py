"""Read a release's split files: which video is in which split, and its label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import DataError
from storage.issues import Issue, IssueKind
from storage.records import SPLITS, Split

SPLIT_FOLDER = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """One line of a split file; the label is `None` where the file only holds placeholders."""

    name: str
    split: Split
    label: int | None


def read_splits(root: Path) -> tuple[tuple[SplitRow, ...], tuple[Issue, ...]]:
    """Read the split files that are there; also tells what in them could not be used.

    Raises:
        DataError: a split file cannot be read.
    """
    rows: list[SplitRow] = []
    issues: list[Issue] = []
    for split in SPLITS:
        path = root / SPLIT_FOLDER / f"{split}.txt"
        if path.is_file():
            rows += _without_placeholders(list(_iter_rows(path, split, issues)), path, issues)
    return tuple(rows), tuple(issues)


def join_rows(known: SplitRow | None, row: SplitRow, issues: list[Issue]) -> SplitRow:
    """Bring together two lines about one video; the first holds, and what differs is told."""
    if known is None:
        return row
    if known.split != row.split:
        message = f"listed in split/{known.split}.txt and in split/{row.split}.txt"
        issues.append(Issue(IssueKind.VIDEO_IN_TWO_SPLITS, message))
    elif known.label != row.label:
        message = f"split/{row.split}.txt gives the video two labels: the first holds"
        issues.append(Issue(IssueKind.LISTED_WITH_TWO_LABELS, message))
    return known


def _iter_rows(path: Path, split: Split, issues: list[Issue]) -> Iterator[SplitRow]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"split/{path.name} cannot be read as UTF-8 text ({error}).") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, rest = line.partition(",")
        written = rest.partition(",")[0].strip()  # the transcript after it holds commas of its own
        if written not in ("0", "1"):
            message = f"split/{path.name}, line {number}: no label 0 or 1 after the path"
            issues.append(Issue(IssueKind.LABEL_UNREADABLE, message))
        label = int(written) if written in ("0", "1") else None
        yield SplitRow(name=name.strip(), split=split, label=label)


def _without_placeholders(rows: list[SplitRow], path: Path, issues: list[Issue]) -> list[SplitRow]:
    """An unlabelled split carries the label 0 on every line: those are no labels."""
    if len(rows) < 2 or any(row.label != 0 for row in rows):
        return rows
    message = f"split/{path.name} has the label 0 on all {len(rows)} lines: taken as none"
    issues.append(Issue(IssueKind.PLACEHOLDER_LABELS, message))
    return [SplitRow(name=row.name, split=row.split, label=None) for row in rows]
