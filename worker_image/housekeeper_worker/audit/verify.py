"""Whether a file is the audit that was written: every block in its place, nothing between them changed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from housekeeper_worker.audit.chain import BEGIN, TORN, Link, read_chain_line

State = Literal["Whole", "Unfinished", "Broken"]
MAX_LINE: Final = 4 << 20
"""Bytes. A longer line is no line of an audit."""
_EVENT: Final = re.compile(rb'\{"ts":"[^"]*","event":"([A-Za-z]+)"')
_LOG_LINE: Final = re.compile(rb'\{"ts": ?"[^"]*", ?"level": ?"')
"""A line of a worker's log, which is shown together with its audit. It is in no block, wherever it stands."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of an audit file.

    Whole: every line is in a block, and every block fits. Unfinished: the same, but for what is behind the last block:
    its writer is still at work, or was killed. Broken: something was changed, or is missing.
    """

    state: State
    message: str
    """One sentence; of a broken file it names the line."""
    lines: int = 0
    """Lines of audit up to the last block that fits."""
    blocks: int = 0
    head: str = ""
    """Hash of that block."""
    after_head: int = 0
    """Lines behind the head that was asked for, in further blocks."""
    torn: int = 0
    """Places where a killed writer left lines without a block, and a later one closed them."""
    runs: int = 0
    """Runs that began."""
    concluded: int = 0
    """Runs that ended with a summary, or of which a later one said that they did not."""


class _Broken(Exception):
    """A line that does not fit. The text is the sentence about it."""


@dataclasses.dataclass(slots=True)
class _Reading:
    link: Link = dataclasses.field(default_factory=Link)
    lines: int = 0
    """Lines since the last chain line."""
    first: int = 1
    """Line of the file where the present block begins."""
    found: int | None = None
    """Lines up to the head that was asked for."""
    torn: int = 0
    runs: int = 0
    concluded: int = 0

    @property
    def after_head(self) -> int:
        """Lines behind the head that was asked for."""
        return 0 if self.found is None else self.link.lines - self.found

    def verdict(self, state: State, message: str) -> Verdict:
        """What is known so far."""
        link = self.link
        head = link.head if link.block else ""
        facts = link.lines, link.block, head, self.after_head, self.torn, self.runs, self.concluded
        return Verdict(state, message, *facts)


def verify(file: BinaryIO, head: str | None = None) -> Verdict:
    """Read an audit from its beginning. `head`: the hash that a result told, which must be one of its blocks.

    Raises OSError.
    """
    reading = _Reading()
    try:
        _read(file, head, reading)
    except _Broken as error:
        return reading.verdict("Broken", str(error))
    if head is not None and reading.found is None:
        told = (
            "no block has the head that was asked for: lines are missing at the end, or this is the audit of another "
            "run, or all of it was written anew"
        )
        return reading.verdict("Broken", told)
    if not reading.link.block and not reading.lines:
        return reading.verdict("Unfinished", "it is empty")
    if reading.lines:
        told = (
            f"whole up to line {reading.first - 1}, and {reading.lines} lines after it are in no block: the worker is "
            "still at work, or was killed"
        )
        return reading.verdict("Unfinished", told)
    told = f"all {reading.link.lines} lines are in {reading.link.block} blocks that fit"
    if unfinished := reading.runs - reading.concluded:
        told += f"; of {reading.runs} runs {unfinished} without an ending: the worker is still at work, or was killed"
    if head is None:
        told += "; compare the head with the result's, for nobody else can tell whether the end is missing"
    elif reading.after_head:
        told += f"; the head is there, and {reading.after_head} lines after it"
    else:
        told += "; the head is the last of them"
    return reading.verdict("Whole", told)


def _read(file: BinaryIO, head: str | None, reading: _Reading) -> None:
    digest = hashlib.sha256()
    torn = 0
    """Bytes of half a line just before: what follows must say so."""
    for number, line in _lines(file):
        if not line.endswith(b"\n"):
            reading.lines += 1  # only the last can be so: half of it is missing, which is for a later run to say
            return
        if _LOG_LINE.match(line):
            continue
        if line.startswith(BEGIN) and not line.endswith(TORN) and not torn:
            _close(reading, digest.digest(), line, number)
            if reading.link.head == head:
                reading.found = reading.link.lines
            digest, reading.lines, reading.first = hashlib.sha256(), 0, number + 1
            continue
        digest.update(line)
        reading.lines += 1
        if line.endswith(TORN):
            torn = len(line) - len(TORN)
            continue
        event = _event(line, number)
        if torn and not (event == "torn" and json.loads(line).get("bytes") == torn):
            raise _Broken(f"line {number}: the line before it is half a line, and this one does not say so")
        torn = 0
        reading.torn += event == "torn"
        reading.runs += event == "start"
        reading.concluded += event in {"summary", "closed", "aborted"}


def _close(reading: _Reading, digest: bytes, line: bytes, number: int) -> None:
    read = read_chain_line(line)
    if read is None:
        raise _Broken(f"line {number}: this is not how a chain line is written")
    if read.prev != reading.link.head:
        raise _Broken(f"line {number}: the block before this one is missing, was put in, or was moved")
    if read.link != reading.link.following(reading.lines, digest):
        raise _Broken(f"lines {reading.first} to {number}: something was changed, taken out or put in")
    reading.link = read.link


def _event(line: bytes, number: int) -> str:
    try:
        known = isinstance(json.loads(line), dict)
    except ValueError:
        known = False
    match = _EVENT.match(line)
    if not known or match is None:
        raise _Broken(f"line {number}: this is no line of an audit")
    return match[1].decode()


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1; what does not end with a newline counts as one."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise _Broken(f"line {number}: longer than any line of an audit")
        yield number, line
