"""A process that swaps two names as fast as it can, until the block ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_EXCHANGE = 2
_AT_FDCWD = -100


@contextlib.contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Both names are there at any moment; what is at them changes places again and again."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    first, second = os.fsencode(one), os.fsencode(other)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            swaps = 0
            while renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _EXCHANGE) == 0:
                swaps += 1
                if swaps == 10:
                    os.write(writer, b"x")
        finally:
            os._exit(ctypes.get_errno() or 1)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b"x", "the attacker did not begin"
        yield
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"the attacker gave up: {os.waitstatus_to_exitcode(status)}"
