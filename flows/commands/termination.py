"""How a command ends on SIGTERM and SIGHUP: like an interruption, with everything recorded.

By default Python ends at once: the run would stay Running in Prefect's history.
"""

import signal
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """Raised in the main thread on a signal that ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__(f"terminated by {signal.Signals(number).name}")
        self.number = number


def raise_on_termination() -> None:
    """Raise `Terminated` on SIGTERM and SIGHUP, unless they are ignored (`nohup`)."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)


def _terminate(number: int, _frame: FrameType | None) -> None:
    """Raise once: the same signal again must not interrupt the clean end."""
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Terminated(number)
