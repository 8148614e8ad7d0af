"""How fast a run may go: so many operations a second, and no faster."""

from __future__ import annotations

import time

from housekeeper_worker.stop import Stop


class Pace:
    """Hands out operations: a look at a file, or a removal."""

    __slots__ = ("_due", "_rate", "_stop")

    def __init__(self, per_second: float, stop: Stop) -> None:
        """`per_second`: more than 0."""
        self._rate = per_second
        self._stop = stop
        self._due = 0.0
        """When what was handed out is worked off, on the monotonic clock."""

    @property
    def step(self) -> int:
        """How many to ask for at once, so that work is spread over each second."""
        return max(1, int(self._rate / 4))

    def spend(self, count: int) -> None:
        """Wait until `count` operations may be done, or the run must stop."""
        now = time.monotonic()
        if self._due > now:
            self._stop.wait(self._due - now)
        self._due = max(self._due, now) + count / self._rate
