"""Read a release's split files: which video is in which split, and its label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import DataError
from storage.identity import quote_spelling
from storage.issues import Issue, IssueKind
from storage.records import SPLITS, Split

SPLIT_FOLDER = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """One line of a split file; the label is `None` if the file has only placeholders."""

    name: str
    split: Split
    label: int | None


def read_splits(root: Path) -> tuple[tuple[SplitRow, ...], tuple[Issue, ...]]:
    """Read the existing split files; also returns the issues in them.

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
    """Combine two lines about one video: the first is used, and differences become issues."""
    if known is None:
        return row
    respelled = "" if row.name == known.name else f" (as {quote_spelling(row.name)})"
    if known.split != row.split:
        message = f"listed in split/{known.split}.txt and in split/{row.split}.txt{respelled}"
        issues.append(Issue(IssueKind.VIDEO_IN_TWO_SPLITS, message))
    elif known.label != row.label:
        message = f"split/{row.split}.txt lists the video with two labels{respelled}"
        issues.append(Issue(IssueKind.LISTED_WITH_TWO_LABELS, f"{message}: it stays unlabeled"))
    elif respelled:
        message = f"split/{row.split}.txt lists the video twice{respelled}"
        issues.append(Issue(IssueKind.VIDEO_SPELLED_TWICE, message))
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
        text = rest.partition(",")[0].strip()  # a transcript with commas follows
        if text not in ("0", "1"):
            message = f"split/{path.name}, line {number}: no label 0 or 1 after the path"
            issues.append(Issue(IssueKind.LABEL_UNREADABLE, message))
        label = int(text) if text in ("0", "1") else None
        yield SplitRow(name=name.strip(), split=split, label=label)


def _without_placeholders(rows: list[SplitRow], path: Path, issues: list[Issue]) -> list[SplitRow]:
    """Drop the labels of an unlabeled split, which has the label 0 on every line."""
    if len(rows) < 2 or any(row.label != 0 for row in rows):
        return rows
    message = f"split/{path.name} has the label 0 on all {len(rows)} lines: taken as unlabeled"
    issues.append(Issue(IssueKind.PLACEHOLDER_LABELS, message))
    return [SplitRow(name=row.name, split=row.split, label=None) for row in rows]
