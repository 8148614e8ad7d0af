"""Why a run must end early: a signal, or its time is up. A flag that loops look at, never an exception in mid-step."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Literal

Reason = Literal["Cancelled", "TimedOut"]

_SLICE_SECONDS: Final = 0.1


class Stop:
    """`reason` is None until the run must end; the first reason stays."""

    __slots__ = ("reason",)

    def __init__(self) -> None:
        self.reason: Reason | None = None

    def now(self, reason: Reason) -> None:
        """Ask the run to end."""
        if self.reason is None:
            self.reason = reason

    def wait(self, seconds: float) -> bool:
        """Wait, but not beyond a stop. Returns whether the whole time went by."""
        end = time.monotonic() + seconds
        while self.reason is None:
            left = end - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, _SLICE_SECONDS))
        return False


@contextmanager
def stopping_on_signals(timeout_seconds: float) -> Iterator[Stop]:
    """A `Stop` that SIGTERM, SIGINT and the end of `timeout_seconds` set. For the main thread only.

    An interval timer keeps the time, so that the loops pay one attribute look-up and no clock reading a file.
    """
    stop = Stop()

    def cancel(_number: int, _frame: FrameType | None) -> None:
        stop.now("Cancelled")

    def time_out(_number: int, _frame: FrameType | None) -> None:
        stop.now("TimedOut")

    handlers = {signal.SIGTERM: cancel, signal.SIGINT: cancel, signal.SIGALRM: time_out}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    # What came while the process began (`entry`) is delivered now. Afterwards it is as before: what comes while the
    # result is written waits for the end of the process.
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
    signal.setitimer(signal.ITIMER_REAL, max(timeout_seconds, 0.001))
    try:
        yield stop
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, previous in before.items():
            signal.signal(number, previous)
