"""An ablation's results for the terminal: a table for videos and one for segments."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.ablation.arms import LETTERS
from tasks.ablation.comparison import LEVELS, AblationRecord
from tasks.evaluation.display import METHOD_NAMES, METRIC_NAMES, UNDEFINED, format_fraction

_SHOWN = ("macro_f1", "average_precision")
_LEGEND = ", ".join(f"{letter} {name}" for name, letter in LETTERS.items())


def ablation_table(records: Sequence[AblationRecord]) -> RenderableType:
    """Show macro F1, average precision and their differences to all modalities, by arm."""
    parts: list[RenderableType] = []
    for level in LEVELS:
        of_level = [row for row in records if row.level == level]
        parts += [_title(level, of_level), _table(of_level)]
    return Group(*parts)


def artifact_rows(records: Sequence[AblationRecord]) -> list[dict[str, str | int]]:
    """Return a row of formatted metrics per level and arm."""
    return [
        {"level": level, "arm": arm, "rows": cells["macro_f1"].num_rows, **_texts(cells)}
        for level in LEVELS
        for arm, cells in _by_arm([row for row in records if row.level == level]).items()
    ]


def _title(level: str, records: Sequence[AblationRecord]) -> Text:
    full = records[0]
    if not full.num_rows:
        return Text.assemble((f"On {level}s: ", "bold"), "none is labeled in test")
    return Text.assemble(
        (f"On {level}s: ", "bold"),
        f"{full.num_rows} labeled in test, "
        f"{format_fraction(full.fraction_positive, 2)} of them A/H; {METHOD_NAMES[full.method]}, "
        f"thresholds selected on validation; intervals over participants ({_LEGEND})",
    )


def _table(records: Sequence[AblationRecord]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("modalities", overflow="fold")
    for name in _SHOWN:
        table.add_column(METRIC_NAMES[name], justify="right", no_wrap=True)
        table.add_column("difference", justify="right", no_wrap=True)
    for index, (arm, cells) in enumerate(_by_arm(records).items()):
        table.add_row(arm, *_texts(cells).values(), style="bold" if index == 0 else None)
    return table


def _by_arm(records: Sequence[AblationRecord]) -> dict[str, dict[str, AblationRecord]]:
    grouped: dict[str, dict[str, AblationRecord]] = {}
    for row in records:
        grouped.setdefault(row.arm, {})[row.name] = row
    return grouped


def _texts(cells: dict[str, AblationRecord]) -> dict[str, str]:
    """Format each metric above its interval, and its difference likewise."""
    texts = {}
    for name in _SHOWN:
        row, title = cells[name], METRIC_NAMES[name]
        texts[title] = format_fraction(row.value)
        if row.low is not None and row.high is not None:
            texts[title] += f"\n{format_fraction(row.low, 2)}–{format_fraction(row.high, 2)}"
        texts[f"{title}: difference"] = _signed(row.difference, 3)
        if row.difference_low is not None:
            bounds = (_signed(bound, 2) for bound in (row.difference_low, row.difference_high))
            texts[f"{title}: difference"] += f"\n{' to '.join(bounds)}"
    return texts


def _signed(value: float | None, digits: int) -> str:
    """Format a difference with its sign and without a leading zero."""
    return UNDEFINED if value is None else f"{value:+.{digits}f}".replace("0.", ".", 1)
