"""What engines' processes print: logged, and counted where nothing else reports progress."""

from tasks.log import LOGGER
from tasks.processes.child_frame import DONE
from tasks.ui_artifacts import ProgressReporter

MODEL_OPEN = "model open"
_WARNING = "warning: "


class EngineLines:
    """Logs the lines that engines print, except their counts ``done N`` (`DoneCounter`)."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def on_line(self, engine: int, line: str) -> None:  # noqa: ARG002 - for those that count
        """Log one line that an engine printed."""
        if line.startswith(DONE):
            return
        if line.startswith(_WARNING):
            LOGGER.warning("%s: %s", self._stage, line.removeprefix(_WARNING))
        else:
            LOGGER.info("%s: %s", self._stage, line)


class EnginesProgress(EngineLines):
    """Also sums the predictions of several engines, out of ``total`` segments, and reports them.

    For engines whose stage is not followed in the store, as `flows.running.progress` does.
    """

    def __init__(self, stage: str, total: int) -> None:
        super().__init__(stage)
        self._reporter = ProgressReporter(stage, total)
        self._before = 0
        self._done: dict[int, int] = {}

    def on_line(self, engine: int, line: str) -> None:
        """Count or log one line that an engine printed."""
        super().on_line(engine, line)
        if line.startswith(MODEL_OPEN):
            self._reporter.start()
        if line.startswith(DONE):
            self._done[engine] = int(line.removeprefix(DONE))
            done = self._before + sum(self._done.values())
            self._reporter.report(done, is_last=done >= self._reporter.total)

    def restart(self, num_left: int) -> None:
        """Continue with new engines; segments that a crashed one had not committed do not count."""
        self._before = self._reporter.total - num_left
        self._done = {}
