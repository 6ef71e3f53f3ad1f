"""ms-swift at work: the program runs, its steps are told as they come, and where they led."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from storage.errors import StageError
from tasks.ms_swift.history import read_history
from tasks.ms_swift.result import best_checkpoint, last_checkpoint, step_of
from tasks.training.checkpoints.checkpoints import Progress
from tasks.training.settings import TrainingSettings
from tasks.training.tracking.divergence import check_finite
from tasks.training.tracking.trackers import StepListener

_LOOK_SECONDS = 2.0


class Follower:
    """Reads what ms-swift tells in its folder ``output``, and passes it on."""

    def __init__(
        self,
        output: Path,
        settings: TrainingSettings,
        num_steps: int,
        watch: StepListener,
        say: Callable[[str], None],
    ) -> None:
        self._output, self._settings, self._num_steps = output, settings, num_steps
        self._watch, self._say = watch, say
        log = read_history(output, num_samples=settings.batch_size)
        self.progress = Progress(step=len(log), log=log)
        watch.begin(log, num_steps)

    def look(self) -> None:
        """Hear of the steps since the last look.

        Raises:
            StageError: training diverged.
        """
        log = read_history(self._output, num_samples=self._settings.batch_size)
        for row in log[len(self.progress.log) :]:
            check_finite(row.step, loss=row.loss, grad_norm=row.grad_norm, rate=row.learning_rate)
            self._watch.note(row)
            self._say(f"step {row.step}/{self._num_steps} loss {row.loss:.4f}")
        self.progress.log, self.progress.step = log, len(log)

    def end(self) -> Path:
        """Give the checkpoint to keep, now that training has ended.

        Raises:
            StageError: there is none, or steps are not told of.
        """
        self.look()
        self._watch.end()
        last, log = last_checkpoint(self._output), self.progress.log
        if last is None or [row.step for row in log] != list(range(1, step_of(last) + 1)):
            raise StageError(
                "ms-swift ended without a whole checkpoint, or without telling of each of its "
                f"steps ({len(log)} of {self._num_steps}): run again, and with ms-swift 4.6 if "
                "this is another."
            )
        kept = best_checkpoint(last) if self._settings.validation else last
        self.progress.best_step = step_of(kept)
        return kept


def run_program(
    command: Sequence[str], environment: Mapping[str, str], look: Callable[[], None]
) -> None:
    """Run a program to its end, looking in every few seconds.

    It stays in this process's group, which ends when the parent is gone; what it prints goes where
    this process's own output goes.

    Raises:
        StageError: it ended with another status than 0.
    """
    with subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL) as process:
        try:
            while _runs_on(process):
                look()
        finally:
            process.kill()
    if process.returncode != 0:
        raise StageError(f"ms-swift failed (status {process.returncode}).")


def _runs_on(process: "subprocess.Popen[bytes]") -> bool:
    """Wait a moment for a process; says whether it has not ended meanwhile."""
    try:
        process.wait(_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False
