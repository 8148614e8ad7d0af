"""Standard streams of the command line that may be closed, full, or read by nobody any more."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Literal, TextIO, TypeVar

from housekeeper_worker.errors import OutputLost

T = TypeVar("T")


def guard() -> None:
    """Keep the numbers of closed streams taken, and let a failure of standard output be told from all others.

    Without the first, a file of the run would get such a number, and what is printed or logged would be written into
    it. After the second, a write raises `OutputLost`, which nobody takes for an error of the file that he reads.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It has the lowest number that is free. Nothing can be read from it, and what is written still fails: an
            # audit that nobody gets must stop a run.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    # Python has none where it found them closed.
    sys.stdin = sys.stdin or _opened("r")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as we live
    out = sys.stdout or _opened("w")
    if isinstance(out, io.TextIOWrapper):
        encoding, errors = out.encoding, out.errors
        sys.stdout = _Output(out.detach(), encoding, errors, line_buffering=os.isatty(1))


def _opened(mode: Literal["r", "w"]) -> TextIO:
    """Standard input or output by its number, for as long as we live."""
    return open("rw".index(mode), mode, encoding="utf-8", closefd=False)


def give_up_output() -> None:
    """Let what is still to be written go nowhere: the interpreter must not try again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class _Output(io.TextIOWrapper):
    """Standard output, whose errors are `OutputLost`."""

    def write(self, text: str) -> int:
        return _or_lost(lambda: super(_Output, self).write(text))

    def flush(self) -> None:
        _or_lost(super().flush)


def _or_lost(act: Callable[[], T]) -> T:
    try:
        return act()
    except OSError as error:
        raise OutputLost(error) from error
