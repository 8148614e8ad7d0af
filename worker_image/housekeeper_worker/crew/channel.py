"""Messages between a run's first process and the others: pickled values with their length, over pipes.

The first process never waits for a pipe to be emptied without emptying its own, so that two full pipes are no deadlock;
the others may wait, for it always reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
from collections.abc import Iterator
from typing import Any, Final

Message = tuple[Any, ...]
"""A word that says what it is, and what belongs to it."""

_LENGTH: Final = struct.Struct("=Q")
_READ: Final = 1 << 18
_PIPE_SIZE: Final = 1 << 20


def pipe() -> tuple[int, int]:
    """A pipe with room for a few batches, where the system allows that."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # A user may have only so much room in pipes; a smaller one is as good, and a little slower.
    with contextlib.suppress(OSError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return reading, writing


class Channel:
    """One end of a conversation."""

    __slots__ = ("_arrived", "_leaving", "ended", "reading", "writing")

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing
        self.ended = False
        """Whether the other end is closed, and everything that came from it is read."""
        self._arrived = bytearray()
        self._leaving = bytearray()

    @property
    def has_more_to_send(self) -> bool:
        """Whether something waits for room in the pipe."""
        return bool(self._leaving)

    def put(self, message: Message) -> None:
        """Send, as far as there is room. For a writing end that does not block; `push` sends the rest."""
        import pickle  # noqa: PLC0415 - for runs of several processes alone

        data = pickle.dumps(message, protocol=5)
        self._leaving += _LENGTH.pack(len(data)) + data
        self.push()

    def push(self) -> None:
        """Send what waits, as far as there is room."""
        try:
            while self._leaving:
                del self._leaving[: os.write(self.writing, self._leaving)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._leaving.clear()  # whoever reads learns from the other pipe that it has ended

    def send(self, message: Message) -> None:
        """Send, and wait until it is sent. Raises BrokenPipeError."""
        import pickle  # noqa: PLC0415 - for runs of several processes alone

        data = pickle.dumps(message, protocol=5)
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        while rest:
            rest = rest[os.write(self.writing, rest) :]

    def arrived(self, wait_seconds: float = 0.0) -> list[Message]:
        """What has come, after waiting for something for so long at most; sets `ended`."""
        if select.select([self.reading], [], [], wait_seconds)[0]:
            self.read()
        return list(self._messages())

    def read(self) -> None:
        """Take what the pipe holds; it must not be empty, or this waits."""
        data = os.read(self.reading, _READ)
        self.ended = not data
        self._arrived += data

    def _messages(self) -> Iterator[Message]:
        import pickle  # noqa: PLC0415 - as above

        while len(self._arrived) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._arrived)
            end = _LENGTH.size + length
            if len(self._arrived) < end:
                return
            # Only our own processes have the other end, so there is nobody to distrust.
            message = pickle.loads(self._arrived[_LENGTH.size : end])  # noqa: S301
            del self._arrived[:end]
            yield message

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.reading)
        os.close(self.writing)
