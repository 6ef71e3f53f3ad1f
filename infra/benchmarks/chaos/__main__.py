"""Kill parts of sandbox runs at random: ``python -m infra.benchmarks.chaos [--kills N]``.

Exit status 1 if a run ended with anything but an undisturbed run's verdicts, left a process, a
temporary file or a run that is shown as Running, or computed an item twice.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flows.server.environment import prepare_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Disturb runs and print the table; return 1 if there is a problem."""
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.chaos")
    parser.add_argument("--kills", type=int, default=50, help="kills of random victims")
    parser.add_argument("--seed", type=int, default=1, help="of victims, signals and moments")
    parser.add_argument("--folder", type=Path, help="where to work; kept, and used again")
    parser.add_argument(
        "--victims", nargs="+", metavar="WORD", help="only victims whose name has it"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # with its table
    with tempfile.TemporaryDirectory(prefix="waver-chaos-") as temporary:
        folder = options.folder or Path(temporary)
        os.environ.pop("PREFECT_API_URL", None)
        prepare_environment(folder / "history")  # before Prefect is imported
        from infra.benchmarks.chaos.campaign import run_campaign

        return run_campaign(folder, options.kills, options.seed, options.victims or ())


if __name__ == "__main__":
    sys.exit(main())
