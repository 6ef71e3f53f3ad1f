"""A parity measurement for a person at a terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.evaluation.display import METHOD_NAMES, format_fraction
from tasks.parity.job import SIDES
from tasks.parity.measure import KINDS, Parity


def parity_table(parity: Parity, model_name: str) -> RenderableType:
    """Show differences, token counts of both sides, and in sentences what is unequal."""
    message = f"transformers (float32) and vLLM ({parity.dtype}) on {len(parity.records)} segments"
    return Group(
        Text(f"{model_name}: {message}", style="bold"),
        _differences(parity),
        _tokens(parity),
        *_conclusions(parity),
    )


def _differences(parity: Parity) -> Table:
    count = len(parity.records)
    table = Table(box=None, show_header=False, pad_edge=False)
    flips = sum(row.flips for row in parity.records)
    same = sum(row.same_ids and row.same_media for row in parity.records)
    spread = [row.p_ah_transformers for row in parity.records]
    table.add_row("largest difference of p_ah", f"{parity.max_difference:.1e}")
    table.add_row("mean difference of p_ah", f"{parity.mean_difference:.1e}")
    flipping = f"that flip at {format_fraction(parity.threshold)}"
    table.add_row(f"verdicts on segments {flipping}", f"{flips} of {count}")
    if parity.videos is not None:
        by_rule = f"on their videos ({METHOD_NAMES[parity.videos.rule]}) {flipping}"
        message = f"{parity.videos.num_flips} of {parity.videos.num_videos}"
        table.add_row(f"verdicts {by_rule}", message)
    table.add_row("segments read alike, bit by bit", f"{same} of {count}")
    low, high = format_fraction(min(spread)), format_fraction(max(spread))
    table.add_row("p_ah ranges over", f"{low}–{high}")
    if parity.num_faulty:
        table.add_row("segments that neither side can take", str(parity.num_faulty))
    return table


def _tokens(parity: Parity) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("tokens")
    for column in (*SIDES, "segments that differ"):
        table.add_column(column, justify="right")
    for kind in KINDS:
        sums = [sum(getattr(r, f"{kind}_tokens_{side}") for r in parity.records) for side in SIDES]
        differ = sum(row.differs_in(kind) for row in parity.records)
        table.add_row(kind, *map(str, sums), str(differ))
    return table


def _conclusions(parity: Parity) -> Iterator[Text]:
    faults = parity.faults()
    for fault in faults:
        yield Text(f"✗ {fault}.", style="red")
    if not faults:
        allowed = f"{parity.max_difference_allowed:.0e}"
        yield Text(f"✓ The sides agree (at most {allowed} apart).", style="green")
