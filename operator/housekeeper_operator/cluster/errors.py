"""What can go wrong between the operator and the API server.

    ClusterError
    ├── NotFound        404: the object, its namespace or its kind is not there
    ├── AlreadyExists   409 on create
    ├── Conflict        409: changed by another since it was read; read again and decide again
    ├── Invalid         400, 405, 413, 415, 422: the server says why; the same request will never work
    ├── Forbidden       401, 403: rights are missing, or an admission policy refused
    ├── Expired         410: the server no longer has the state that was asked for; list again
    ├── Fenced          not sent: this replica may no longer be the leader
    └── Unavailable     network, time limit, 429, 5xx; the same request may work later

The text of each is the server's own message where there is one, behind what was asked: `patch Job team/x: …`.
"""

from __future__ import annotations


class ClusterError(Exception):
    """A request to the API server did not succeed. `status` is the HTTP status, or None where there was no answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ClusterError):
    """The object, its namespace or its kind does not exist."""


class AlreadyExists(ClusterError):
    """An object of this name exists; what was to be created was not."""


class Conflict(ClusterError):
    """The object changed since it was read, or its uid is another. Nothing was written."""


class Invalid(ClusterError):
    """The server refuses the content. `causes` holds (field path, message) pairs as far as it told them."""

    def __init__(self, message: str, *, status: int | None = None, causes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, status=status)
        self.causes = causes


class Expired(ClusterError):
    """The server no longer has the state that was asked for: list again from the start."""


class Forbidden(ClusterError):
    """The operator lacks a right, or admission refused."""


class Fenced(ClusterError):
    """The write was not sent, because this replica may no longer be the leader. The process is about to end."""


class Unavailable(ClusterError):
    """No answer, or the server asks for patience. `retry_after` in seconds where it said how long."""

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after
