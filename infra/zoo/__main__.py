"""Segment every awkward video and print a table of outcomes: `python -m infra.zoo --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.zoo.visit import INPUTS, Outcome, visit


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of inputs and outcomes; return 1 if one differs from what is expected."""
    parser = argparse.ArgumentParser(prog="python -m infra.zoo", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder for all files")
    parser.add_argument("--only", nargs="+", default=list(INPUTS), help="names of inputs")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - set(INPUTS)
    if unknown:
        parser.error(f"the zoo has no {sorted(unknown)[0]!r}")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"the folder {str(options.out)!r} is not empty")
    print("| input | outcome |\n|---|---|")
    wrong = [outcome for outcome in map(_show, visit(options.only, options.out)) if outcome.faults]
    print(f"\n{len(options.only)} inputs, {len(wrong)} wrong outcomes")
    return 1 if wrong else 0


def _show(outcome: Outcome) -> Outcome:
    """Print one line of the table, with control characters of the name escaped."""
    name = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in outcome.name)
    faults = "".join(f" **WRONG: {fault}**" for fault in outcome.faults)
    print(f"| {name} | {outcome.description}{faults} |", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
