"""Whether anybody has a file open, as the kernel knows it: it grants a write lease only where nobody has.

That counts readers, writers and mappings of every process on this machine, whatever its namespaces or user. It needs
no right to write, and works on read-only mounts. It says nothing about other machines that mount the same volume.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
"""Without a wait for whoever holds a lease of his own (EAGAIN: he has the file open), and never through a link."""

_IN_USE: Final = {errno.EAGAIN, errno.EBUSY, errno.ETXTBSY}
_CANNOT_OPEN: Final = {errno.EACCES, errno.EPERM}
_HAS_NONE: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}


class Use(StrEnum):
    """What is known about a file's openers. The values are the keys of `openFiles` in a result."""

    NOT_OPEN = "notOpen"
    OPEN = "open"
    UNKNOWN = "unknown"
    """The file is another user's, or may not be read, or its file system has no leases."""
    OPENED_MEANWHILE = "openedMeanwhile"
    """Nobody had it open, but before it was gone somebody began to: he has what it held, and no name for it."""
    NOT_LOOKED_AT = "notLookedAt"
    """A dry run looks at a part."""


class Leases:
    """Takes leases, one at a time, and remembers file systems that have none."""

    __slots__ = ("_none",)

    def __init__(self) -> None:
        self._none: set[int] = set()

    def open(self, directory: int, name: bytes, device: int) -> int:
        """A descriptor to take a lease on, or -1 where it cannot be had. Raises OSError; EAGAIN is in use."""
        if device in self._none:
            return -1
        try:
            return os.open(name, OPEN_FLAGS, dir_fd=directory)
        except OSError as error:
            if error.errno in _CANNOT_OPEN:
                return -1
            raise

    def take(self, fd: int, device: int) -> Use:
        """Take a lease on the regular file `fd` (-1: unknown). It lasts until `fd` is closed."""
        if fd < 0:
            return Use.UNKNOWN
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno in _IN_USE:
                return Use.OPEN
            if error.errno in _HAS_NONE and stat.S_ISREG(os.fstat(fd).st_mode):
                self._none.add(device)
            return Use.UNKNOWN
        return Use.NOT_OPEN

    def look(self, directory: int, name: bytes, device: int) -> Use:
        """Take a lease and give it back. Raises OSError where the file cannot be opened for another reason."""
        try:
            fd = self.open(directory, name, device)
        except BlockingIOError:
            return Use.OPEN
        try:
            return self.take(fd, device)
        finally:
            if fd >= 0:
                os.close(fd)


def is_whole(fd: int) -> bool:
    """Whether nobody has tried to open the file since the lease was taken."""
    return fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_WRLCK


@contextlib.contextmanager
def breaks_ignored() -> Iterator[None]:
    """Ignore the signal by which the kernel asks for a lease back, and which would end the process.

    Whoever wants to open the file waits until the descriptor is closed, which is a matter of microseconds.
    """
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGIO, before)
