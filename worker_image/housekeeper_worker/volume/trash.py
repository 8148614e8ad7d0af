"""The trash: where a directory goes by one rename, so that half of it is never seen, before it is emptied.

`.housekeeper/trash/journal` says of each directory in the trash where it came from and how far its removal was: a JSON
object a line, synced before the rename, and again before the first of its files goes. So whatever moment a worker is
killed at, the next one knows whether to bring a directory back or to finish it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from housekeeper_worker.logs import log
from housekeeper_worker.volume.own import own_directory
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.syscalls import rename_directory

_TRASH: Final = b"trash"
_JOURNAL: Final = b"journal"
_NEW_JOURNAL: Final = b"journal.new"
_LARGE: Final = 1 << 20
"""Bytes of a journal above which it is written anew without what is over."""
_BLOCK: Final = 1 << 20
_MAX_LINE: Final = 16 << 20
"""Bytes. No path is so long; what is means nothing."""

State = Literal["moving", "emptying", "told", "over"]
"""moving: it is about to be renamed, or was. emptying: it never comes back. told: besides, a result has counted it.
over: nothing of it is in the trash."""


class Coming(NamedTuple):
    """A directory that is about to come into the trash."""

    path: bytes
    """Where it is, below the root."""
    inode: int


@dataclasses.dataclass(slots=True)
class Entry:
    """A directory in the trash."""

    name: bytes
    """Its name there."""
    path: bytes
    """Where it was, below the root."""
    inode: int
    run: str
    state: State = "moving"


class Trash:
    """The open trash of a volume. For one worker at a time. Use it in a `with` statement."""

    def __init__(self, root: VolumeRoot, fd: int, run: str) -> None:
        self._root = root
        self.fd = fd
        self._run = run
        self._token = secrets.token_hex(4)
        self._count = 0
        self._journal = self._open_journal(_JOURNAL)
        try:
            os.ftruncate(self._journal, self._end_of_lines())  # half a line, which nobody acted on yet
            self._left = self._read()
            self._open = {entry.name for entry in self._left}
            """Names of entries that are not over."""
            if os.fstat(self._journal).st_size > _LARGE:
                self._shrink()
        except BaseException:
            os.close(self._journal)
            raise

    @classmethod
    def open(cls, root: VolumeRoot, run: str, *, create: bool) -> Self:
        """Open the trash of a volume. Raises OSError, FileNotFoundError where there is none and none is made."""
        with own_directory(root, _TRASH, create=create) as directory:
            fd = os.dup(directory)
        try:
            return cls(root, fd, run)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close it, and forget what is over."""
        with contextlib.suppress(OSError):
            self._forget()
        os.close(self._journal)
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def announce(self, coming: Iterable[Coming]) -> list[Entry]:
        """Write down what comes next, and give each a name. Raises OSError; then nothing may come."""
        self._forget()
        entries = []
        for path, inode in coming:
            self._count += 1
            name = f"{self._token}-{self._count}".encode()
            entries.append(Entry(name, path, inode, self._run))
        self._write(map(_row, entries))
        self._open.update(entry.name for entry in entries)
        os.fsync(self._journal)
        return entries

    def take(self, directory: int, name: bytes, entry: Entry) -> None:
        """Rename the directory `name` of an open directory into the trash. Raises OSError: ENOTDIR where it is none."""
        # The slash lets the kernel refuse a file or a link that was exchanged for it, and could never come back.
        os.rename(name + b"/", entry.name, src_dir_fd=directory, dst_dir_fd=self.fd)

    def bring_back(self, entry: Entry) -> None:
        """Rename an entry to where it was. Raises OSError: EEXIST where something else is there now."""
        above, _, name = entry.path.rpartition(b"/")
        with self._root.directory(above, for_reading=False) as directory:
            rename_directory(self.fd, entry.name, directory, name)
            os.fsync(self.fd)
        self.note(entry, "over")

    def commit(self, entries: Sequence[Entry]) -> None:
        """From here on these are emptied, by whatever run. Raises OSError; then none may be."""
        if not entries:
            return
        for entry in entries:
            entry.state = "emptying"
        os.fsync(self.fd)
        self._write({"entry": entry.name.decode(), "state": "emptying"} for entry in entries)
        os.fsync(self._journal)

    def note(self, entry: Entry, state: State) -> None:
        """Write down how far an entry is. Not synced: a line that is lost makes the next run look once more."""
        entry.state = state
        if state == "over":
            self._open.discard(entry.name)
        with contextlib.suppress(OSError):  # a full volume must not stop what makes room
            self._write([{"entry": entry.name.decode(), "state": state}])

    def entries(self) -> list[Entry]:
        """What earlier runs left when the trash was opened, by the journal, as far as it is there."""
        return self._left

    def _read(self) -> list[Entry]:
        found: dict[str, Entry] = {}
        for line in self._lines():
            try:
                row = json.loads(line)
                self._read_row(found, row)
            except (ValueError, KeyError, TypeError):
                log("warning", "a line of .housekeeper/trash/journal means nothing", line=repr(line[:200]))
        return list(found.values())

    @staticmethod
    def _read_row(found: dict[str, Entry], row: Any) -> None:
        name, state = str(row["entry"]), row["state"]
        if "path" in row and state in {"moving", "emptying", "told"}:
            path = base64.b64decode(row["path"], validate=True)
            found[name] = Entry(name.encode(), path, int(row["inode"]), str(row["run"]), state)
        elif state == "over":
            found.pop(name, None)
        elif state in {"emptying", "told"}:
            found[name].state = state

    def is_there(self, entry: Entry) -> bool:
        """Whether the directory of an entry is in the trash, as a whole. Raises OSError."""
        try:
            return os.stat(entry.name, dir_fd=self.fd, follow_symlinks=False).st_ino == entry.inode
        except FileNotFoundError:
            return False

    def unknown(self, known: Iterable[Entry]) -> list[bytes]:
        """Names in the trash of which the journal says nothing."""
        names = {entry.name for entry in known} | {_JOURNAL}
        with os.scandir(self.fd) as entries:
            return sorted(
                name for entry in entries if (name := os.fsencode(entry.name)).partition(b".")[0] not in names
            )

    def _open_journal(self, name: bytes) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self.fd)

    def _end_of_lines(self) -> int:
        """Where the last whole line of the journal ends."""
        end = os.fstat(self._journal).st_size
        while end > 0:
            begin = max(0, end - _BLOCK)
            if (place := os.pread(self._journal, end - begin, begin).rfind(b"\n")) >= 0:
                return begin + place + 1
            end = begin
        return 0

    def _lines(self) -> Iterator[bytes]:
        """The lines of the journal, however long it is, without it being in memory; of what is no line the begin."""
        offset, rest, skips = 0, b"", False
        while block := os.pread(self._journal, _BLOCK, offset):
            offset += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines[skips:]
            skips = skips and not lines
            if len(rest) > _MAX_LINE:
                if not skips:
                    yield rest[:_MAX_LINE]
                rest, skips = b"", True

    def _shrink(self) -> None:
        """Write the journal anew without what is over; it stays as it is where that cannot be."""
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_NEW_JOURNAL, dir_fd=self.fd)
            new = self._open_journal(_NEW_JOURNAL)
        except OSError:
            return
        try:
            for entry in self._left:
                _write_all(new, _encoded([_row(entry)]))
            os.fsync(new)
            os.rename(_NEW_JOURNAL, _JOURNAL, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError as error:
            os.close(new)
            log("warning", "the journal of .housekeeper/trash stays as long as it is", error=error.strerror)
            return
        os.close(self._journal)
        self._journal = new
        with contextlib.suppress(OSError):  # either of the two is whole
            os.fsync(self.fd)

    def _write(self, rows: Iterable[dict[str, Any]]) -> None:
        data = _encoded(rows)
        end = os.fstat(self._journal).st_size
        try:
            _write_all(self._journal, data)
        except OSError:
            # Half a line would take the next one with it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._journal, end)
            raise

    def _forget(self) -> None:
        """Begin the journal anew if everything in it is over."""
        if not self._open and os.fstat(self._journal).st_size:
            os.ftruncate(self._journal, 0)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.name.decode(),
        "state": entry.state,
        "path": base64.b64encode(entry.path).decode(),
        "inode": entry.inode,
        "run": entry.run,
    }


def _encoded(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
