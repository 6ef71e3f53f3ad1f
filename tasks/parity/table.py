"""A parity measurement for the terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.evaluation.display import METHOD_NAMES, format_fraction
from tasks.parity.job import BACKENDS
from tasks.parity.measure import KINDS, Parity


def parity_table(parity: Parity, model_name: str) -> RenderableType:
    """Show differences, token counts of both backends and what does not match."""
    title = f"transformers (float32) and vLLM ({parity.dtype}) on {len(parity.records)} segments"
    return Group(
        Text(f"{model_name}: {title}", style="bold"),
        _differences(parity),
        _tokens(parity),
        *_conclusions(parity),
    )


def _differences(parity: Parity) -> Table:
    count = len(parity.records)
    table = Table(box=None, show_header=False, pad_edge=False)
    flips = sum(row.flips for row in parity.records)
    same = sum(row.same_token_ids and row.same_features for row in parity.records)
    values = [row.p_ah_transformers for row in parity.records]
    table.add_row("largest difference of p_ah", f"{parity.max_difference:.1e}")
    table.add_row("mean difference of p_ah", f"{parity.mean_difference:.1e}")
    flipping = f"that flip at {format_fraction(parity.threshold)}"
    table.add_row(f"verdicts on segments {flipping}", f"{flips} of {count}")
    if parity.videos is not None:
        by_rule = f"on their videos ({METHOD_NAMES[parity.videos.rule]}) {flipping}"
        num_flips = f"{parity.videos.num_flips} of {parity.videos.num_videos}"
        table.add_row(f"verdicts {by_rule}", num_flips)
    table.add_row("segments with bit-identical input", f"{same} of {count}")
    low, high = format_fraction(min(values)), format_fraction(max(values))
    table.add_row("range of p_ah", f"{low}–{high}")
    if parity.num_rejected:
        table.add_row("segments that both backends reject", str(parity.num_rejected))
    return table


def _tokens(parity: Parity) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("tokens")
    for column in (*BACKENDS, "segments that differ"):
        table.add_column(column, justify="right")
    for kind in KINDS:
        sums = [
            sum(getattr(row, f"{kind}_tokens_{backend}") for row in parity.records)
            for backend in BACKENDS
        ]
        differ = sum(row.differs_in(kind) for row in parity.records)
        table.add_row(kind, *map(str, sums), str(differ))
    return table


def _conclusions(parity: Parity) -> Iterator[Text]:
    mismatches = parity.mismatches()
    for mismatch in mismatches:
        yield Text(f"✗ {mismatch}.", style="red")
    if not mismatches:
        allowed = f"{parity.max_difference_allowed:.0e}"
        yield Text(f"✓ The backends agree (tolerance {allowed}).", style="green")
