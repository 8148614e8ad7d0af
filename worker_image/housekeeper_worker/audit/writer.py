"""The audit: what was done to which file, and why, as one JSON object a line.

Before a batch of removals an `intent` line says which files come next, and it is on the disk before the first of them
goes, so that a killed worker or a lost machine leaves no removal that nobody wrote down. The outcome lines of a batch
are written together with the intent of the next. Names are any bytes: `path` if they are UTF-8, else `pathBase64`.
Every write ends with a chain line (`chain`).

Events: `start`, `pressure`, `intent`, `removed`, `wouldRemove`, `quarantined`, `wouldQuarantine`, `skipped`, `spared`,
`removedDirectory`, `held`, `purge`, `purged`, `summary`; `broughtBack` and `finished` (what an earlier run left in the
trash); of a restore `restore`, `restored`, `wouldRestore`; `chain`; where a log has room
for no more files `limited` once and then `outcomes` for each write; `tended`, `torn`, `closed` (`reports`); `aborted`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Final, Literal

from housekeeper_api.result import AuditReport
from housekeeper_worker.audit.chain import TORN, Link
from housekeeper_worker.audit.lines import path_member
from housekeeper_worker.audit.tail import Tail
from housekeeper_worker.errors import AuditLost
from housekeeper_worker.logs import timestamp

_FULL: Final = 256 * 1024
LOG_BYTES: Final = 8 << 20
"""What lines about files may take in the log of a container, which the kubelet begins anew at 10 MiB (its default)."""
_PREFIX: Final = 48
"""Bytes that the container runtime puts before each line of a log."""


class Audit:
    """The one writer of a run's audit, to a descriptor. Without one nothing is written.

    Raises `AuditLost` where writing fails, once; what was not written then goes to `spare`, as far as that takes it.
    """

    def __init__(
        self,
        fd: int | None,
        run: str,
        *,
        to: Literal["Log", "File"] = "Log",
        path: str = "",
        limit: int | None = None,
        tail: Tail | None = None,
        spare: int | None = None,
    ) -> None:
        """`limit`: bytes that lines about files may take. `tail`: of the file, if there is something in it."""
        self._fd = fd
        self._to: Literal["Log", "File"] = to
        self._path = path
        self._run = encode_basestring_ascii(run)
        self._lines: list[str] = []
        self._size = 0
        self._room = limit
        self._untold: Counter[str] = Counter()
        """Files that there was no room to tell of, by event, since the last `outcomes`."""
        self._link = self._safe = Link()
        """How far the chain is written, and how far it is on the disk."""
        self._pending = hashlib.sha256()
        self._pending_lines = 0
        self._unsynced = 0
        """Removed files whose lines are not on the disk."""
        self._spare = spare
        self._on = fd is not None
        self.notes: list[str] = []
        """Sentences for the result."""
        self._complete = True
        self._why: str | None = None
        self._rescued = False
        # A pipe and a terminal have no disk to wait for.
        self._syncs = fd is not None and stat.S_ISREG(os.fstat(fd).st_mode)
        self._stamp = timestamp(time.time_ns())
        if tail is not None:
            self._go_on(tail)

    @property
    def on(self) -> bool:
        """Whether anything is written at all."""
        return self._fd is not None

    @property
    def has_room(self) -> bool:
        """Whether lines about files are still written; without, their counts are enough."""
        return not self._untold

    def report(self) -> AuditReport | None:
        """What a result says of it; None where nothing was to be written."""
        if not self._on:
            return None
        unrecorded = 0 if self._fd is not None else self._unsynced
        return AuditReport(self._to, self._path, self._safe.lines, self._safe.head, self._complete, unrecorded)

    def event(self, name: str, **members: object) -> None:
        """Add a line about the run as a whole and write out everything."""
        self._tell_untold()
        self._add(self._event(name, **members))
        self.flush(sync=True)

    def intent(self, first: bytes, last: bytes, count: int) -> None:
        """Say that `count` files from `first` to `last`, in the order of the plan, may be removed from now on.

        It is on the disk when this returns, with the outcomes of all before.
        """
        self._tell_untold()
        self._stamp = timestamp(time.time_ns())
        self._add(
            f'{{"ts":"{self._stamp}","event":"intent","run":{self._run},"count":{count},'
            f'"first":{{{path_member(first)}}},"last":{{{path_member(last)}}}}}\n'
        )
        self.flush(sync=True)

    def files(self, lines: str, counts: Mapping[str, int]) -> None:
        """Add lines about files, as `file_lines` makes them; they are written with their batch.

        `counts`: how many there are of each event, or would be, for without room there need be none.
        """
        if not self._on or not any(counts.values()):
            return
        self._unsynced += counts.get("removed", 0)
        if self._fd is None:
            self._rescue(lines.encode())  # of what others had begun when it was lost
        elif self._untold:
            self._untold.update(counts)
        else:
            self._add_files(lines, counts)

    def file(self, event: str, path: bytes, members: str) -> None:
        """Add a line about one file or directory. `members` are further members, already JSON."""
        self.files(f'{{"ts":"{self._stamp}","event":"{event}",{path_member(path)},{members}}}\n', {event: 1})

    @property
    def stamp(self) -> str:
        """What a line about a file of the batch has as its time."""
        return self._stamp

    def flush(self, *, sync: bool = False) -> None:
        """Write out what was added, closed by a chain line; with `sync`, wait until all is on the disk."""
        if self._fd is None or not self._lines:
            self._forget()
            return
        block = "".join(self._lines).encode()
        self._pending.update(block)
        link = self._link.following(self._pending_lines + block.count(b"\n"), self._pending.digest())
        try:
            _write_all(self._fd, block + link.line(self._link))
            if self._syncs and sync:
                os.fdatasync(self._fd)
        except OSError as error:
            raise self._lost(error, block) from error
        self._link, self._pending, self._pending_lines = link, hashlib.sha256(), 0
        self._forget()
        if sync or not self._syncs:
            self._unsynced, self._safe = 0, link

    def _forget(self) -> None:
        self._lines.clear()
        self._size = 0

    def _lost(self, error: OSError, block: bytes) -> AuditLost:
        self._fd, self._complete = None, False
        self._forget()
        self._why = f"the audit could not be written: {error.strerror}"
        self._rescue(block)
        return AuditLost(self.loss() or "")

    def loss(self) -> str | None:
        """Why it could not be written to its end, and what that leaves open; None if it could."""
        if self._why is None:
            return None
        told = self._why
        if self._unsynced:
            told += (
                f"; {self._unsynced} files were removed after the last line that is safe there: the last intents say "
                "how many could go, and name the first and the last"
            )
        return told + ("; the log has the lines that are missing" if self._rescued else "")

    def _rescue(self, lines: bytes) -> None:
        """Lines that have no place any more, into the log."""
        if self._spare is not None:
            with contextlib.suppress(OSError):
                _write_all(self._spare, lines)
                self._rescued = True

    def _event(self, name: str, **members: object) -> str:
        self._stamp = timestamp(time.time_ns())
        rest = "".join(f",{encode_basestring_ascii(key)}:{json.dumps(value)}" for key, value in members.items())
        return f'{{"ts":"{self._stamp}","event":"{name}","run":{self._run}{rest}}}\n'

    def _go_on(self, tail: Tail) -> None:
        """Take up the chain of a file where it ended, and say what a killed writer left behind its last link."""
        self._link = self._safe = tail.link
        self._pending, self._pending_lines = tail.pending, tail.lines
        if tail.torn:
            self._add(TORN.decode())
        if tail.lines or tail.torn:
            self._add(self._event("torn", lines=tail.lines, bytes=tail.torn))

    def _add_files(self, lines: str, counts: Mapping[str, int]) -> None:
        if self._room is not None:
            self._room -= len(lines) + _PREFIX * sum(counts.values())
            if self._room < 0:
                self._complete = False
                self._untold.update(counts)
                self._add(self._event("limited", message="no more lines about single files: the log would lose others"))
                self.notes.append(
                    "the log had no room for a line about every file: name a volume in spec.report, and the audit "
                    "is written there in full"
                )
                return
        self._add(lines)
        if self._size > _FULL:
            self.flush()

    def _tell_untold(self) -> None:
        """Where there is no room for lines about files, say how many of each kind there were since the last time."""
        if any(self._untold.values()):
            self._add(self._event("outcomes", **{event: count for event, count in self._untold.items() if count}))
            # The events stay as keys: from now on every file is only counted.
            self._untold = Counter(dict.fromkeys(self._untold, 0))

    def _add(self, lines: str) -> None:
        if self._fd is not None:
            self._lines.append(lines)
            self._size += len(lines)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
