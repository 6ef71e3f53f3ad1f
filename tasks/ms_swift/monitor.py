"""Run ms-swift, follow its steps, and find the checkpoint to keep."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from storage.errors import StageError
from tasks.ms_swift.checkpoints import best_checkpoint, last_checkpoint, step_of
from tasks.ms_swift.history import read_history
from tasks.training.checkpoints.checkpoints import Progress
from tasks.training.settings import TrainingSettings
from tasks.training.tracking.callbacks import TrainingCallback
from tasks.training.tracking.divergence import check_finite

_POLL_SECONDS = 2.0


class SwiftMonitor:
    """Reads ms-swift's log in its folder ``output``, and notifies a callback of the steps."""

    def __init__(
        self,
        output: Path,
        settings: TrainingSettings,
        num_steps: int,
        callback: TrainingCallback,
        report: Callable[[str], None],
    ) -> None:
        self._output, self._settings, self._num_steps = output, settings, num_steps
        self._callback, self._report = callback, report
        log = read_history(output, num_samples=settings.batch_size)
        self.progress = Progress(step=len(log), log=log)
        callback.on_train_begin(log, num_steps)

    def poll(self) -> None:
        """Process the steps since the last call.

        Raises:
            StageError: training diverged.
        """
        log = read_history(self._output, num_samples=self._settings.batch_size)
        for row in log[len(self.progress.log) :]:
            check_finite(
                row.step, loss=row.loss, grad_norm=row.grad_norm, learning_rate=row.learning_rate
            )
            self._callback.on_step(row)
            self._report(f"step {row.step}/{self._num_steps} loss {row.loss:.4f}")
        self.progress.log, self.progress.step = log, len(log)

    def finish(self) -> Path:
        """Return the checkpoint to keep after training has ended.

        Raises:
            StageError: there is none, or steps are missing from the log.
        """
        self.poll()
        self._callback.on_train_end()
        last, log = last_checkpoint(self._output), self.progress.log
        if last is None or [row.step for row in log] != list(range(1, step_of(last) + 1)):
            raise StageError(
                "ms-swift ended without a complete checkpoint, or with steps missing from its log "
                f"({len(log)} of {self._num_steps} found): run again, with ms-swift 4.6 if this is "
                "another version."
            )
        kept = best_checkpoint(last) if self._settings.validation else last
        self.progress.best_step = step_of(kept)
        return kept


def run_program(
    command: Sequence[str], environment: Mapping[str, str], poll: Callable[[], None]
) -> None:
    """Run a program to its end, calling ``poll`` every few seconds.

    It stays in this process's group, which is killed when the parent dies, and inherits its output.

    Raises:
        StageError: the exit status is not 0.
    """
    with subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL) as process:
        try:
            while _is_running(process):
                poll()
        finally:
            process.kill()
    if process.returncode != 0:
        raise StageError(f"ms-swift failed with exit status {process.returncode}.")


def _is_running(process: "subprocess.Popen[bytes]") -> bool:
    """Wait a moment for a process, and return whether it is still running."""
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False
