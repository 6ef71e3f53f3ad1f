"""`waver rejected`: list, export or try again what the stages rejected."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.commands.exit_status import ExitStatus
from flows.context.context import open_existing_store
from flows.context.request import RunRequest
from flows.upkeep.rejected import RejectedItem, find_rejected, invalidate_rejected
from flows.upkeep.status import current_variants
from storage.errors import ConfigError
from storage.schema import schema_of, to_plain, to_table
from storage.store.atomic import atomic_file
from storage.store.disk import creating
from storage.store.store import Store
from tasks.export.files import write_export
from tasks.export.output_path import check_output_file
from tasks.terminal import printable, titled_table

_MAX_LISTED = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rejected items to show: of these stages, with this text in the reason."""

    stages: tuple[str, ...] = ()
    text: str = ""


def show_rejected(
    store_url: str, request: RunRequest | None, chosen: Filter, out: Path | None
) -> None:
    """Print rejected items, or write them to a file; with a request, only those of its variants.

    Raises:
        ConfigError: ``out`` has another suffix than .csv, .parquet or .json.
        DataError: the store does not exist, or the data set cannot be read.
        StoreError: ``out`` cannot be written.
    """
    if out is not None:
        check_output_file(out, (".csv", ".parquet", ".json"))
    rejected = _find(open_existing_store(store_url, read_only=True), request, chosen)
    console = Console()
    if out is not None:
        _write(rejected, out)
        console.print(f"{len(rejected):,} rejected items: {out}", soft_wrap=True, highlight=False)
        return
    if not rejected:
        console.print("Nothing is rejected.")
        return
    console.print(rejected_table(rejected))
    num_transient = sum(row.may_pass for row in rejected)
    console.print(f"{len(rejected):,} rejected; the reason of {num_transient:,} may pass: --retry.")


def retry_rejected(request: RunRequest, chosen: Filter) -> ExitStatus:
    """Run a request again, computing the rejected items anew whose reason may pass.

    Raises:
        WaverError: as `waver run`.
    """
    from flows.commands.run import run_and_show

    store = open_existing_store(request.store, read_only=True)
    rejected = _find(store, request, chosen)
    num_invalidated = invalidate_rejected(Store(request.store), rejected)
    num_kept = len(rejected) - num_invalidated
    console = Console()
    console.print(f"Trying {num_invalidated:,} again; {num_kept:,} stay rejected for good.")
    return run_and_show(request) if num_invalidated else ExitStatus.DONE


def _find(store: Store, request: RunRequest | None, chosen: Filter) -> list[RejectedItem]:
    variants = None if request is None else current_variants(request)
    return find_rejected(store, stages=chosen.stages, text=chosen.text, variants=variants)


def _write(rejected: Sequence[RejectedItem], out: Path) -> None:
    if out.suffix.lower() == ".json":
        text = json.dumps([to_plain(row) for row in rejected], indent=2, ensure_ascii=False)
        with creating(str(out), "--out"), atomic_file(out) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        return
    table = to_table(RejectedItem, rejected)
    write_export(out, schema_of(RejectedItem), [table], {"kind": "rejected"})


def rejected_table(rejected: Sequence[RejectedItem]) -> Table:
    """Return reasons with their counts, the most frequent first, and the items of each."""
    counts = Counter((row.stage, row.reason, row.may_pass) for row in rejected)
    table = titled_table("Rejected")
    table.add_column("stage", no_wrap=True)
    table.add_column("items", justify="right")
    table.add_column("may pass")
    table.add_column("reason, and the first items", overflow="fold")
    for (stage, reason, may_pass), count in counts.most_common(_MAX_LISTED):
        own = [row.item_id for row in rejected if (row.stage, row.reason) == (stage, reason)]
        cell = Text(printable(reason))
        for item in dict.fromkeys(own[:3]):
            cell.append(f"\n  {printable(item)}", style="dim")
        table.add_row(stage, f"{count:,}", "yes" if may_pass else "no", cell)
    if rest := sum(count for _, count in counts.most_common()[_MAX_LISTED:]):
        table.add_row("", f"{rest:,}", "", "other reasons: --out FILE writes all")
    return table


def check_retry(request: RunRequest | None, out: Path | None) -> RunRequest:
    """Return the request of a retry.

    Raises:
        ConfigError: no data set is named, or a file is to be written too.
    """
    if request is None:
        raise ConfigError("--retry runs the pipeline: name the data set with --data FOLDER.")
    if out is not None:
        raise ConfigError("--retry writes no file: leave out --out.")
    return request
