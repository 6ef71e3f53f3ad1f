"""Progress of several engines together, from the lines that their processes print."""

from tasks.log import LOGGER
from tasks.processes.child_frame import DONE
from tasks.ui_artifacts import ProgressReporter

MODEL_OPEN = "model open"
_WARNING = "warning: "


class EnginesProgress:
    """Sums the predictions of several engines, out of ``total`` segments.

    An engine prints ``done N`` with its own count (`DoneCounter`); its other lines are logged.
    """

    def __init__(self, stage: str, total: int) -> None:
        self._stage = stage
        self._reporter = ProgressReporter(stage, total)
        self._before = 0
        self._done: dict[int, int] = {}

    def on_line(self, engine: int, line: str) -> None:
        """Count or log one line that an engine printed."""
        if line.startswith(DONE):
            self._done[engine] = int(line.removeprefix(DONE))
            done = self._before + sum(self._done.values())
            self._reporter.report(done, is_last=done >= self._reporter.total)
        elif line.startswith(_WARNING):
            LOGGER.warning("%s: %s", self._stage, line.removeprefix(_WARNING))
        else:
            if line.startswith(MODEL_OPEN):
                self._reporter.start()
            LOGGER.info("%s: %s", self._stage, line)

    def restart(self, num_left: int) -> None:
        """Continue with new engines; segments that a crashed one had not committed do not count."""
        self._before = self._reporter.total - num_left
        self._done = {}
