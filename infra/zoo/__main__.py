"""Show what becomes of every awkward video: `python -m infra.zoo --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.zoo.visit import INPUTS, Seen, visit


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of inputs and outcomes; 1 if one is not as it must be."""
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
    wrong = [seen for seen in map(_show, visit(options.only, options.out)) if seen.faults]
    print(f"\n{len(options.only)} inputs, {len(wrong)} not as they must be")
    return 1 if wrong else 0


def _show(seen: Seen) -> Seen:
    """Print one line of the table; control characters of a name are written out."""
    name = seen.name.encode("unicode_escape").decode() if "\n" in seen.name else seen.name
    faults = "".join(f" **WRONG: {fault}**" for fault in seen.faults)
    print(f"| {name} | {seen.outcome}{faults} |", flush=True)
    return seen


if __name__ == "__main__":
    sys.exit(main())
