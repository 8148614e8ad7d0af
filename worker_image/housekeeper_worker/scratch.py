"""Room outside of memory for what a run must remember: a nameless file that is gone with its process.

It lies in `HOUSEKEEPER_SCRATCH`, else in /scratch where that is, else where temporary files are. What fits into a
little memory never gets there, so that small runs need no such place.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
from typing import Final

from housekeeper_api.names import SCRATCH_LIMIT
from housekeeper_worker.errors import CouldNotRun

VARIABLE: Final = "HOUSEKEEPER_SCRATCH"
_USUAL: Final = "/scratch"
_IN_MEMORY: Final = 1 << 20
_STORES: Final = 64
_USED: Final = memoryview(mmap.mmap(-1, 8 * _STORES)).cast("Q")
"""Bytes in the file of each store, which all processes of a worker see: together they have one limit."""
_numbers: Final = itertools.count()


class Scratch:
    """Bytes that are appended and read again. Raises `CouldNotRun` where there is no room for them."""

    __slots__ = ("_fd", "_place", "_tail", "_written")

    def __init__(self) -> None:
        self._fd = -1
        self._tail = bytearray()
        """What is not in the file yet."""
        self._written = 0
        self._place = next(_numbers) % _STORES
        """Of its bytes in `_USED`."""

    def append(self, data: bytes) -> int:
        """Keep `data`. Returns where it is."""
        offset = self._written + len(self._tail)
        self._tail += data
        if len(self._tail) > _IN_MEMORY:
            self.flush()
        return offset

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""
        if offset >= self._written:
            begin = offset - self._written
            return bytes(self._tail[begin : begin + length])
        return os.pread(self._fd, length, offset)

    def open(self) -> None:
        """Make the file, for whoever else shall read it."""
        if self._fd < 0:
            self._fd = _nameless(directory())

    @property
    def written(self) -> int:
        """Bytes in the file."""
        return self._written

    def written_by_another(self, count: int) -> None:
        """Say that another process, which had this one's file, wrote `count` bytes to it."""
        self._written = count

    def flush(self) -> None:
        """Write out what is in memory."""
        limit = _limit()
        if limit is not None and sum(_USED) + len(self._tail) > limit:
            raise CouldNotRun(
                f"the plan does not fit into the {limit} bytes of scratch that {SCRATCH_LIMIT} allows (the chart's "
                "worker.scratchSize): raise that, or let the policy select less. Nothing was removed"
            )
        self.open()
        data = memoryview(self._tail)
        try:
            while data:
                count = os.write(self._fd, data)
                self._written += count
                _USED[self._place] = self._written
                data = data[count:]
        except OSError as error:
            raise CouldNotRun(_no_room(directory(), error)) from error
        finally:
            data.release()
        self._tail = bytearray()

    def close(self) -> None:
        """Give the room back."""
        self._tail = bytearray()
        _USED[self._place] = 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _limit() -> int | None:
    text = os.environ.get(SCRATCH_LIMIT, "")
    if text and not text.isdecimal():
        raise CouldNotRun(f"{SCRATCH_LIMIT} is {text!r}: write a number of bytes, or nothing")
    return int(text) if text else None


def directory() -> str:
    """Where scratch files lie."""
    if named := os.environ.get(VARIABLE):
        return named
    if os.path.isdir(_USUAL):
        return _USUAL
    import tempfile  # noqa: PLC0415 - forty milliseconds that most runs need not wait for

    return tempfile.gettempdir()


def _nameless(where: str) -> int:
    try:
        return os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
            raise CouldNotRun(_no_room(where, error)) from error
    import tempfile  # noqa: PLC0415 - as above

    try:
        fd, path = tempfile.mkstemp(dir=where)
        os.unlink(path)
    except OSError as error:
        raise CouldNotRun(_no_room(where, error)) from error
    return fd


def _no_room(where: str, error: OSError) -> str:
    return (
        f"the plan does not fit into the scratch directory {where}: {error.strerror}; give it more room, or name "
        f"another directory in {VARIABLE}. Nothing was removed"
    )
