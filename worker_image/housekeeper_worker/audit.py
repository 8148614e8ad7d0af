"""The audit: what was done to which file, and why, as one JSON object a line.

Before a batch of removals an `intent` line says which files come next, so that a killed worker leaves no removal that
nobody wrote down. The outcome lines of a batch are written together with the intent of the next: two system calls a
batch, not two a file. Names are any bytes: `path` if they are UTF-8, else `pathBase64`.

Events: `start`, `intent`, `removed`, `wouldRemove`, `skipped`, `held`, `summary`.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Final

from housekeeper_worker.errors import AuditLost
from housekeeper_worker.logs import timestamp
from housekeeper_worker.retention.paths import join, prefix
from housekeeper_worker.retention.records import Records

_FULL: Final = 256 * 1024


class Audit:
    """Writes to a descriptor. Raises `AuditLost` where that fails; without a descriptor nothing is written."""

    def __init__(self, fd: int | None, run: str) -> None:
        self._fd = fd
        self._run = encode_basestring_ascii(run)
        self._lines: list[str] = []
        self._size = 0
        self.lines = 0
        """Lines so far."""
        self._stamp = timestamp(time.time_ns())

    @property
    def stamp(self) -> str:
        """When the batch began that is worked on, as lines say it."""
        return self._stamp

    @property
    def on(self) -> bool:
        """Whether anything is written at all."""
        return self._fd is not None

    def event(self, name: str, **members: object) -> None:
        """Add a line about the run as a whole and write out everything."""
        self._stamp = timestamp(time.time_ns())
        rest = "".join(f",{encode_basestring_ascii(key)}:{json.dumps(value)}" for key, value in members.items())
        self._add(f'{{"ts":"{self._stamp}","event":"{name}","run":{self._run}{rest}}}\n')
        self.flush()

    def intent(self, first: bytes, last: bytes, count: int) -> None:
        """Say that `count` files from `first` to `last`, in the order of the plan, may be removed from now on."""
        self._stamp = timestamp(time.time_ns())
        self._add(
            f'{{"ts":"{self._stamp}","event":"intent","run":{self._run},"count":{count},'
            f'"first":{{{path_member(first)}}},"last":{{{path_member(last)}}}}}\n'
        )
        self.flush()

    def files(self, text: str, count: int) -> None:
        """Add `count` lines about files, as `file_lines` makes them; they are written with their batch."""
        if self._fd is not None:
            self._lines.append(text)
            self._size += len(text)
            self.lines += count
        if self._size > _FULL:
            self.flush()

    def flush(self) -> None:
        """Write out what was added."""
        if self._fd is None or not self._lines:
            self._lines.clear()
            self._size = 0
            return
        data = memoryview("".join(self._lines).encode())
        self._lines.clear()
        self._size = 0
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self._fd = None
            raise AuditLost(f"the audit could not be written: {error.strerror}") from error

    def _add(self, line: str) -> None:
        if self._fd is not None:
            self._lines.append(line)
            self._size += len(line)
            self.lines += 1


def path_member(path: bytes) -> str:
    """`"path":"…"`, or `"pathBase64":"…"` where the path is not UTF-8."""
    try:
        return f'"path":{encode_basestring_ascii(path.decode())}'
    except UnicodeDecodeError:
        return f'"pathBase64":"{base64.b64encode(path).decode()}"'


def file_lines(
    stamp: str, event: str, directory: bytes, records: Records, members: Callable[[int], str], more: str = ""
) -> str:
    """A line for each file. `members` gives those of a cause, already JSON.

    `more` are further members of each line, each with a comma before it.
    """
    begin = f'{{"ts":"{stamp}","event":"{event}",'
    joined = b"/".join(records.names)
    try:
        directory.decode()
        # No name has a slash in it, and JSON leaves slashes alone: one call instead of one a file.
        names = encode_basestring_ascii(joined.decode())[1:-1].split("/")
        begin += path_member(prefix(directory))[:-1]
        end = '"'
    except UnicodeDecodeError:
        names = [path_member(join(directory, name)) for name in records.names]
        end = ""
    ends = {cause: f"{end},{members(cause)}" for cause in set(records.cause)}
    columns = (names, records.cause, records.size, records.allocated, records.inode, records.modified)
    return "".join(
        [
            f'{begin}{name}{ends[cause]},"size":{size},"bytes":{allocated},"inode":{inode},"mtimeNs":{modified}{more}}}\n'
            for name, cause, size, allocated, inode, modified in zip(*columns, strict=True)
        ]
    )
