"""Where quarantines are: `.housekeeper/quarantine/ID/`, with the manifest and a directory for each batch of files.

A batch is a directory of at most 500 files, or directories that are items, under numbers, so that a million files take
two thousand directories, and no name of a file, however odd or long, is used again: it stands in the manifest alone.
What has a number and a dot (`17.0`) is of a directory that is being purged, and cannot be restored any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import stat as modes
from collections.abc import Iterator
from typing import Final

from housekeeper_worker.quarantine import manifest
from housekeeper_worker.quarantine.manifest import Damaged, Header, Reading
from housekeeper_worker.volume.own import own_directory
from housekeeper_worker.volume.root import OWN_DIRECTORY, VolumeRoot

DIRECTORY: Final = b"quarantine"
_MAX_RUN: Final = 200
_SECOND: Final = 1_000_000_000
_NOT_EMPTY: Final = {errno.ENOTEMPTY, errno.EEXIST}
OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclasses.dataclass(frozen=True, slots=True)
class Quarantine:
    """One quarantine, open. Descriptors are closed by `opened`."""

    name: bytes
    fd: int
    manifest: int
    header: Header
    time_ns: int | None
    """When its last batch was begun; None if it has none, and so no file."""

    @property
    def until_ns(self) -> int:
        """Until when its files are kept, as promised when it was made."""
        return (self.time_ns or 0) + int(self.header.keep_seconds * _SECOND)


def new_name(run: str, attempt: int) -> bytes:
    """A name that no other quarantine has: two attempts of a run, or two runs of one name, do not meet."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", run)[:_MAX_RUN].lstrip(".") or "run"
    return f"{plain}.a{attempt}.{os.urandom(4).hex()}".encode()


def path_of(name: bytes) -> bytes:
    """The path of a quarantine below the root."""
    return b"/".join((OWN_DIRECTORY, DIRECTORY, name))


@contextlib.contextmanager
def all_of(root: VolumeRoot) -> Iterator[tuple[int, list[bytes]]]:
    """The directory of quarantines and the names in it, sorted. Raises OSError; `FileNotFoundError`: there is none."""
    with own_directory(root, DIRECTORY, create=False) as fd:
        yield fd, sorted(os.fsencode(name) for name in os.listdir(fd))


@contextlib.contextmanager
def opened(above: int, name: bytes) -> Iterator[Quarantine | None]:
    """A quarantine, or None where its manifest was never begun, and so nothing moved. Raises `Damaged` and OSError."""
    with contextlib.ExitStack() as stack:
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=above)
        stack.callback(os.close, fd)
        found = None
        with contextlib.suppress(FileNotFoundError):
            lines = os.open(manifest.NAME, _READ, dir_fd=fd)
            stack.callback(os.close, lines)
            if not modes.S_ISREG(os.fstat(lines).st_mode):
                raise Damaged("its manifest is no file")
            if (header := manifest.read_header(lines)) is not None:
                found = Quarantine(name, fd, lines, header, manifest.last_time(lines))
        if (found is None or found.time_ns is None) and any(True for _ in batches(fd)):
            raise Damaged("its manifest is gone or cut off, and there are files")
        yield found


def batches(fd: int) -> Iterator[bytes]:
    """Names of the batches of an open quarantine."""
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.name.isdecimal() and entry.is_dir(follow_symlinks=False):
                yield os.fsencode(entry.name)


@dataclasses.dataclass(slots=True)
class Contents:
    """What is in a quarantine."""

    items: int = 0
    allocated: int = 0
    """Bytes on disk."""


def contents(found: Quarantine) -> Contents:
    """Count what could be restored of an open quarantine. Raises OSError.

    Of a directory it tells what it held when it was moved.
    """
    total = Contents()
    directories: set[tuple[bytes, bytes]] = set()
    for batch in batches(found.fd):
        at = os.open(batch, OPEN_DIRECTORY, dir_fd=found.fd)
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if is_begun(name):
                        continue
                    total.items += 1
                    if entry.is_dir(follow_symlinks=False):
                        directories.add((batch, name))
                    else:
                        total.allocated += entry.stat(follow_symlinks=False).st_blocks * 512
        finally:
            os.close(at)
    if directories:
        total.allocated += sum(item.allocated for item in Reading(found.manifest) if item.place in directories)
    return total


def is_begun(name: bytes) -> bool:
    """Whether something in a batch is of a directory whose purge has begun."""
    number, dot, piece = name.partition(b".")
    return bool(dot) and number.isdigit() and piece.isdigit()


def remove_if_empty(above: int, quarantine: bytes, fd: int) -> bool:
    """Remove an open quarantine that holds no file any more: the manifest last. Returns whether it is gone.

    Raises OSError for anything but files that are still there.
    """
    for batch in list(batches(fd)):
        with contextlib.suppress(FileNotFoundError):
            try:
                os.rmdir(batch, dir_fd=fd)
            except OSError as error:
                if error.errno in _NOT_EMPTY:
                    return False
                raise
    os.fsync(fd)
    if os.listdir(fd) not in ([], [os.fsdecode(manifest.NAME)]):
        return False  # something that is not ours
    with contextlib.suppress(FileNotFoundError):
        os.unlink(manifest.NAME, dir_fd=fd)
    os.rmdir(quarantine, dir_fd=above)
    return True
