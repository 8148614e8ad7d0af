"""Locks on directories (flock): one writing worker at a time on a root, and other programs' locks are honoured.

The kernel lets go of them when their process ends, however it ends. On network file systems a lock on a directory
counts on one machine at most; where it cannot be had at all, the worker goes on without.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import time
from collections.abc import Callable, Iterator
from typing import Final

from housekeeper_worker.stop import Stop

_SLICE_SECONDS: Final = 0.1


def wait_for_root(fd: int, *, exclusive: bool, stop: Stop, on_wait: Callable[[], None]) -> float | None:
    """Lock a root until its descriptor is closed: `exclusive` to remove, else together with other readers.

    Waits for another worker until the run must stop, which `stop` then says; `on_wait` is called once before. Returns
    the seconds waited, or None where the file system has no such locks.
    """
    began = time.monotonic()
    waiting = False
    while True:
        taken = _take(fd, exclusive=exclusive)
        if taken is None:
            return None
        if taken:
            return time.monotonic() - began if waiting else 0.0
        if not waiting:
            waiting = True
            on_wait()
        if not stop.wait(_SLICE_SECONDS):
            return time.monotonic() - began


@contextlib.contextmanager
def locked(fd: int, *, exclusive: bool) -> Iterator[bool]:
    """Lock a directory for a while. Gives whether that could be had: False if another program has locked it.

    An exclusive lock sees every other lock, a shared one only exclusive ones.
    """
    taken = _take(fd, exclusive=exclusive)
    try:
        yield taken is not False
    finally:
        if taken:
            fcntl.flock(fd, fcntl.LOCK_UN)


def is_locked(fd: int, *, exclusive: bool) -> bool:
    """Whether another program has locked a directory, as `locked` sees it."""
    with locked(fd, exclusive=exclusive) as free:
        return not free


def _take(fd: int, *, exclusive: bool) -> bool | None:
    """Whether the lock was taken; None where the file system has none."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno == errno.EWOULDBLOCK else None
    return True
