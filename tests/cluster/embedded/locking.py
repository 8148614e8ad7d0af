"""Locks between processes: two callers never build, start or stop the same thing at once."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from .progress import say


@contextlib.contextmanager
def locked(path: str, what: str) -> Iterator[None]:
    """Hold an exclusive lock on the file at `path`, made if absent and never removed; `what` names it while waiting.

    The kernel drops the lock when its holder dies, so no lock outlives a killed run.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command that holds {what}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
