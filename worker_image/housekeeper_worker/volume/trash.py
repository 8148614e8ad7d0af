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
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from housekeeper_worker.logs import log
from housekeeper_worker.volume.own import own_directory
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.syscalls import rename_directory

_TRASH: Final = b"trash"
_JOURNAL: Final = b"journal"
_MAX_JOURNAL: Final = 64 << 20

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
        self._open: set[bytes] = set()
        """Names of entries that are not over."""
        self._journal = os.open(
            _JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd
        )
        text = self._read()
        if not text.endswith(b"\n"):
            os.ftruncate(self._journal, text.rfind(b"\n") + 1)  # half a line, which nobody acted on yet

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
        self._write(
            {
                "entry": entry.name.decode(),
                "state": entry.state,
                "path": base64.b64encode(entry.path).decode(),
                "inode": entry.inode,
                "run": entry.run,
            }
            for entry in entries
        )
        self._open.update(entry.name for entry in entries)
        os.fsync(self._journal)
        return entries

    def take(self, directory: int, name: bytes, entry: Entry) -> None:
        """Rename `name` of an open directory into the trash. Raises OSError."""
        os.rename(name, entry.name, src_dir_fd=directory, dst_dir_fd=self.fd)

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
        """What earlier runs left, by the journal, as far as it is there."""
        found: dict[str, Entry] = {}
        for line in self._read().split(b"\n")[:-1]:
            try:
                row = json.loads(line)
                self._read_row(found, row)
            except (ValueError, KeyError, TypeError):
                log("warning", "a line of .housekeeper/trash/journal means nothing", line=repr(line[:200]))
        left = [entry for entry in found.values() if entry.state != "over"]
        self._open.update(entry.name for entry in left)
        return left

    @staticmethod
    def _read_row(found: dict[str, Entry], row: Any) -> None:
        name, state = str(row["entry"]), row["state"]
        if state == "moving":
            found[name] = Entry(
                name.encode(), base64.b64decode(row["path"], validate=True), int(row["inode"]), str(row["run"])
            )
        elif state in {"emptying", "told", "over"}:
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

    def _read(self) -> bytes:
        return os.pread(self._journal, min(os.fstat(self._journal).st_size, _MAX_JOURNAL), 0)

    def _write(self, rows: Iterable[dict[str, Any]]) -> None:
        data = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
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


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
