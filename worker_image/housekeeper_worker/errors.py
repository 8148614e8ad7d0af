"""What stops a run. Errors of single files are not exceptions here: they are counted (`volume.faults`).

Exception
├── housekeeper_api.task.TaskError   the task makes no sense: exit 64, never retried
└── WorkerError
    ├── CouldNotRun                  nothing was tried: exit 2
    ├── InvalidItems                 the items of a simulation make no sense: exit 64
    ├── OutputLost                   standard output of the command line cannot be written: exit 1, whatever was done
    ├── AuditLost                    what is done could no longer be written down: the run stops, exit 1
    ├── DiskFailing                  reading failed too often: nothing is removed, exit 1
    └── MemberLost                   one of the processes of a run was killed, or broke: the run stops, exit 1
"""

from __future__ import annotations


class WorkerError(Exception):
    """Base of what a worker raises by itself. The message is a sentence for the person who owns the policy."""


class CouldNotRun(WorkerError):
    """The volume, the path or a permission that the task needs is not there. Nothing was tried."""


class InvalidItems(WorkerError):
    """Items to simulate with are not what they should be. The message names the line."""


class OutputLost(WorkerError):
    """Standard output cannot be written. What was done is done."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.nobody_reads = isinstance(error, BrokenPipeError)
        """Whoever read (head, less) has seen enough, which is no failure that he must be told of."""


class AuditLost(WorkerError):
    """The audit cannot be written. No further file is removed, for nobody could tell afterwards."""


class MemberLost(WorkerError):
    """One of the processes of a run is gone. What it did last, nobody can tell but the volume itself."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
        """Which one, from 1."""


class DiskFailing(WorkerError):
    """Reading failed too often. Nothing is removed on the strength of half a listing from a broken disk."""
