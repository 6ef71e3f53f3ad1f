"""`waver gc`: list what a store may lose, or remove it."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from flows.context.context import open_existing_store
from flows.planning.units import format_bytes
from flows.upkeep.collect import Findings, find_garbage, remove_garbage
from flows.upkeep.garbage import Garbage
from storage.errors import ConfigError
from storage.schema import to_plain
from storage.store.store import Store
from tasks.terminal import titled_table

_MAX_LISTED = 20  # of a group in the terminal; JSON has all


def collect_and_show(
    store_url: str, profiles: Sequence[str], keep_days: float, *, delete: bool, as_json: bool
) -> None:
    """List what nothing in a store needs, and remove it if ``delete`` is set.

    Raises:
        ConfigError: ``keep_days`` is negative, or a profile does not exist.
        DataError: the store does not exist.
        StoreError: a run is at work in the store.
    """
    if not keep_days >= 0:
        raise ConfigError(f"--keep-days is {keep_days!r}: expected 0 or more.")
    reader = open_existing_store(store_url, read_only=True)
    console = Console(stderr=as_json)

    def find() -> Findings:
        return find_garbage(reader, profiles, keep_days)

    found = remove_garbage(Store(store_url), find) if delete else find()
    if as_json:
        print(json.dumps(to_plain(found) | {"deleted": delete}, indent=2))  # noqa: T201
        return
    if found.garbage:
        console.print(garbage_table(found))
    for line in summary_lines(found, deleted=delete):
        console.print(line, highlight=False, markup=False)


def garbage_table(found: Findings) -> Table:
    """Return what can be removed, by group, with its size."""
    table = titled_table("Not needed")
    table.add_column("group")
    table.add_column("what", overflow="fold")
    table.add_column("files", justify="right")
    table.add_column("size", justify="right")
    for group in dict.fromkeys(garbage.group for garbage in found.garbage):
        own = sorted(
            (garbage for garbage in found.garbage if garbage.group == group),
            key=lambda garbage: -garbage.num_bytes,
        )
        for number, garbage in enumerate(own[:_MAX_LISTED]):
            table.add_row("" if number else group, garbage.name, *_amounts([garbage]))
        if rest := own[_MAX_LISTED:]:
            table.add_row("", f"and {len(rest)} more: see --json", *_amounts(rest))
    return table


def _amounts(garbage: Sequence[Garbage]) -> tuple[str, str]:
    num_files = sum(each.num_files for each in garbage)
    return f"{num_files:,}", format_bytes(sum(each.num_bytes for each in garbage))


def summary_lines(found: Findings, *, deleted: bool) -> list[str]:
    """Return what stays and why, and what the command did or would do."""
    reasons: dict[str, int] = {}
    for why in found.needed.values():
        reasons[why] = reasons.get(why, 0) + 1
    kept = ", ".join(f"{count} for {why}" for why, count in reasons.items()) or "none"
    lines = [f"Variants that stay: {kept}."]
    if not found.garbage:
        return [*lines, "Nothing to remove."]
    size = format_bytes(found.num_bytes)
    if deleted:
        return [*lines, f"Removed {size}."]
    return [*lines, f"{size} can be removed: run again with --delete. Nothing was changed."]
