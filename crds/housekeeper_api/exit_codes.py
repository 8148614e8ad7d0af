"""Exit codes of the worker and of the command line. They are API: alerts and scripts read them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a worker's exit code says, when its termination message is lost."""

    SUCCEEDED = 0
    """All done."""
    FAILED = 1
    """Carried out, and failed: a timeout, an I/O error that stopped it, a failing check."""
    COULD_NOT_RUN = 2
    """Nothing was done: the volume, path or permission that the task needs is not there."""
    PARTIAL = 3
    """Done, but for items that are reported."""
    HELD = 4
    """A brake tripped; nothing of the plan was removed."""
    INVALID_TASK = 64
    """The task cannot be read or makes no sense (sysexits' EX_USAGE). Never retried."""
