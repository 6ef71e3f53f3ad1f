"""How far the engines are: their counts summed, told in the log and in the Prefect UI."""

import time

from tasks.log import LOGGER
from tasks.processes.child_frame import DONE
from tasks.ui_artifacts import ProgressInUI

MODEL_OPEN = "model open"
_WARNING = "warning: "
_SECONDS = 5.0


class EnginesProgress:
    """Follows the lines of several engines that together answer ``total`` segments.

    An engine prints ``done N`` with the number of segments it is done with, and other lines, which
    are logged.
    """

    def __init__(self, stage: str, total: int) -> None:
        self._stage = stage
        self._total = total
        self._in_ui = ProgressInUI(stage)
        self._before = 0
        self._done: dict[int, int] = {}
        self._started: float | None = None
        self._due = 0.0

    def on_line(self, engine: int, line: str) -> None:
        """Take an engine's line."""
        if line.startswith(DONE):
            self._done[engine] = int(line.removeprefix(DONE))
            self._show()
        elif line.startswith(_WARNING):
            LOGGER.warning("%s: %s", self._stage, line.removeprefix(_WARNING))
        else:
            if line.startswith(MODEL_OPEN) and self._started is None:
                self._started = time.monotonic()
            LOGGER.info("%s: %s", self._stage, line)

    def reset_grace(self, num_left: int) -> None:
        """Go on with other engines; what a dead one had not committed is not done."""
        self._before = self._total - num_left
        self._done = {}

    def _show(self) -> None:
        done, now = self._before + sum(self._done.values()), time.monotonic()
        self._started = now if self._started is None else self._started
        if now < self._due and done < self._total:
            return
        self._due = now + _SECONDS
        seconds = max(now - self._started, 1e-9)
        rate = done / seconds
        left = (self._total - done) / rate if rate else 0.0
        end = f"about {left:.0f} s left" if done < self._total else f"in {seconds:.1f} s"
        message = f"{done} of {self._total} segments, {rate:.1f} a second, {end}"
        LOGGER.info("%s: %s", self._stage, message)
        self._in_ui.show(100 * done / max(self._total, 1), message, is_last=done >= self._total)
