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
from json.encoder import encode_basestring_ascii
from typing import Final

from housekeeper_worker.errors import AuditLost
from housekeeper_worker.logs import timestamp

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

    def file(self, event: str, path: bytes, members: str) -> None:
        """Add a line about one file; it is written with its batch. `members` are further members, already JSON."""
        self._add(f'{{"ts":"{self._stamp}","event":"{event}",{path_member(path)},{members}}}\n')
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
