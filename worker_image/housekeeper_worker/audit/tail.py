"""The end of an audit file: where its chain goes on, and what a killed writer left behind the last chain line."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from typing import Final

from housekeeper_worker.audit.chain import BEGIN, MAX_CHAIN_LINE, Link, read_chain_line

_PIECE: Final = 1 << 20
_LAST_LINE: Final = 1 << 18
"""Bytes before the last chain line in which the line before it is looked for: more than a summary has."""
_LAST_EVENT: Final = re.compile(rb'\{"ts":"[^"]*","event":"(summary|closed|aborted)",')


@dataclasses.dataclass(frozen=True, slots=True)
class Tail:
    """What is behind the last chain line of a file, and what that says."""

    link: Link
    """Of the last chain line; of no block if there is none."""
    lines: int
    """Whole lines behind it."""
    torn: int
    """Bytes of the last line, if it does not end."""
    pending: hashlib._Hash
    """SHA-256 that has taken in all that is behind it."""
    concluded: bool
    """Whether nothing is behind it, and the block before says how the run ended."""


def read_tail(fd: int) -> Tail:
    """The tail of a regular file that is open for reading. Reads as little as it can, from the end. Raises OSError."""
    size = os.fstat(fd).st_size
    found = _last_chain_line(fd, size)
    link, begin, end = found if found is not None else (Link(), 0, 0)
    pending, lines, last = hashlib.sha256(), 0, b"\n"
    torn = 0
    for piece in _pieces(fd, end, size):
        pending.update(piece)
        lines += piece.count(b"\n")
        cut = piece.rfind(b"\n")
        torn = torn + len(piece) if cut < 0 else len(piece) - cut - 1
        last = piece
    concluded = end == size and last == b"\n" and _says_how_it_ended(fd, begin)
    return Tail(link, lines, torn, pending, concluded)


def _pieces(fd: int, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        piece = os.pread(fd, min(_PIECE, end - begin), begin)
        if not piece:
            return
        yield piece
        begin += len(piece)


def _last_chain_line(fd: int, size: int) -> tuple[Link, int, int] | None:
    """The last chain line: what it says, where it begins and where it ends."""
    upto = size
    while upto > 0:
        begin = max(0, upto - _PIECE)
        # Lines that begin in this piece may end in the next, and what is before the first byte tells where one begins.
        start = max(0, begin - 1)
        data = os.pread(fd, min(upto + MAX_CHAIN_LINE, size) - start, start)
        place = len(data)
        while (place := data.rfind(BEGIN, 0, place)) >= 0:
            line_end = data.find(b"\n", place) + 1
            read = read_chain_line(data[place:line_end])
            if read is not None and (start + place == 0 or (place > 0 and data[place - 1] == 0x0A)):
                return read.link, start + place, start + line_end
        upto = begin
    return None


def _says_how_it_ended(fd: int, begin: int) -> bool:
    start = max(0, begin - _LAST_LINE)
    data = os.pread(fd, begin - start, start)
    line = data[data.rfind(b"\n", 0, -1) + 1 :] if data else b""
    return _LAST_EVENT.match(line) is not None
