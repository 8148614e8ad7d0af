"""Emptying a directory that nobody sees any more: one in the trash, by descriptors, however deep it is.

A sub-directory that is not empty is renamed to the top before it is emptied itself, so that depth costs nothing, and so
that what a killed worker leaves lies side by side: `NAME` and `NAME.1`, `NAME.2` … are to be emptied again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterator
from itertools import islice
from typing import Final

from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.contents import MAX_LINKED, Inode
from housekeeper_worker.volume.root import VolumeRoot

_WINDOW: Final = 5_000
_BLOCK: Final = 512
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclasses.dataclass(slots=True)
class Emptied:
    """What emptying one directory came to."""

    freed: int = 0
    """Bytes on disk that nothing names any more; a file with several names counts with its last."""
    whole: bool = False
    """Whether nothing of it is left."""
    error: OSError | None = None
    """Why something is left, where the run need not end for another reason."""


class Emptying:
    """Empties directories in `trash`, an open directory below `root`."""

    def __init__(self, root: VolumeRoot, trash: int, stop: Stop) -> None:
        self._root = root
        self._trash = trash
        self._stop = stop
        self.touched: dict[Inode, int] = {}
        """Inodes of which a name was removed here and another is left, with the ctime that this gave them."""
        self._pieces = 0

    def empty(self, name: bytes) -> Emptied:
        """Remove the directory `name` and everything in it, and what an earlier run made of it."""
        done = Emptied()
        try:
            pending = self._pieces_of(name)
            while pending:
                if self._stop.reason is not None:
                    return done
                self._empty_one(pending.pop(), name, pending, done)
        except OSError as error:
            done.error = error
            return done
        done.whole = self._stop.reason is None or not self._pieces_of(name)
        return done

    def _pieces_of(self, name: bytes) -> list[bytes]:
        with _listed(self._trash) as entries:
            names = [os.fsencode(entry.name) for entry in entries]
        self._pieces = 0
        found = [one for one in names if one == name or one.startswith(name + b".")]
        for one in found:
            number = one[len(name) + 1 :]
            self._pieces = max(self._pieces, int(number) if number.isdigit() else 0)
        return found

    def _empty_one(self, piece: bytes, name: bytes, pending: list[bytes], done: Emptied) -> None:
        """Remove the directory `piece`. Its sub-directories become further pieces, which are added to `pending`."""
        try:
            fd = self._root.open_below(self._trash, piece)
        except FileNotFoundError:
            return
        try:
            allocated = os.fstat(fd).st_blocks * _BLOCK
            # What comes into it meanwhile, by a descriptor that somebody has of it, goes too.
            while self._remove_entries(fd, name, pending, done):
                if self._stop.reason is not None:
                    pending.append(piece)
                    return
            os.rmdir(piece, dir_fd=self._trash)
            done.freed += allocated
        finally:
            os.close(fd)

    def _remove_entries(self, fd: int, name: bytes, pending: list[bytes], done: Emptied) -> bool:
        """Remove what is in an open directory. Returns whether there was anything."""
        any_there = False
        with _listed(fd) as entries:
            while window := list(islice(entries, _WINDOW)):
                any_there = True
                window.sort(key=os.DirEntry.inode)
                for entry in window:
                    if self._stop.reason is not None:
                        return True
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_dir(follow_symlinks=False):
                            self._set_aside(fd, os.fsencode(entry.name), name, pending, done)
                        else:
                            self._unlink(fd, entry, done)
        return any_there

    def _set_aside(self, fd: int, entry: bytes, name: bytes, pending: list[bytes], done: Emptied) -> None:
        allocated = os.stat(entry, dir_fd=fd, follow_symlinks=False).st_blocks * _BLOCK
        try:
            os.rmdir(entry, dir_fd=fd)
            done.freed += allocated
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            self._pieces += 1
            piece = name + b".%d" % self._pieces
            os.rename(entry, piece, src_dir_fd=fd, dst_dir_fd=self._trash)
            pending.append(piece)

    def _unlink(self, fd: int, entry: os.DirEntry[str], done: Emptied) -> None:
        stat = entry.stat(follow_symlinks=False)
        if stat.st_nlink == 1:
            os.unlink(entry.name, dir_fd=fd)
            done.freed += stat.st_blocks * _BLOCK
            return
        held = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            os.unlink(entry.name, dir_fd=fd)
            after = os.fstat(held)
        finally:
            os.close(held)
        inode = after.st_dev, after.st_ino
        if after.st_nlink == 0:
            done.freed += stat.st_blocks * _BLOCK
            self.touched.pop(inode, None)
        elif inode in self.touched or len(self.touched) < MAX_LINKED:
            self.touched[inode] = after.st_ctime_ns


@contextlib.contextmanager
def _listed(directory: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What is in an open directory now. A descriptor of btrfs lists no name that came after it was opened."""
    fd = os.open(b".", _READ, dir_fd=directory)
    try:
        with os.scandir(fd) as entries:
            yield entries
    finally:
        os.close(fd)
