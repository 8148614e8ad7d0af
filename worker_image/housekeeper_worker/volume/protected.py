"""What is left alone in any case: by a marker, by a lock, by the name that a file system gives its own, by mode."""

from __future__ import annotations

import os
import stat as modes
from enum import StrEnum
from typing import Final

from housekeeper_worker.volume.locking import is_locked

MARKER: Final = b".nocleanup"
"""A directory that holds anything of this name is not entered, nor is what is below."""
RESERVED_DIRECTORIES: Final = frozenset({"lost+found", ".snapshot", ".zfs"})
"""fsck's own, and the windows that file systems give on their snapshots."""
_NFS, _FUSE = ".nfs", ".fuse_hidden"
"""Begin of the names that NFS and FUSE give to files which were removed while they were open."""
_RESERVED: Final = (_NFS.encode(), _FUSE.encode())


class Protection(StrEnum):
    """Why something is left alone. The values are keys of `skipped` in a result; a directory counts once."""

    MARKED = "marked"
    """The directory holds a `.nocleanup`."""
    LOCKED = "locked"
    """Another program has locked the directory."""
    RESERVED = "reserved"
    """`lost+found`, `.snapshot`, `.zfs`, `.nfs*`, `.fuse_hidden*`."""
    STICKY = "sticky"
    """A file with the sticky bit."""
    INCOMPLETE = "incomplete"
    """It is being written, as its name or a sibling's says."""
    EXCLUDED = "excluded"
    """Something in it is excluded, or belongs to an earlier rule."""
    MOUNT = "mount"
    """Something in it is a mount."""
    UNREADABLE = "unreadable"
    """Something in it cannot be read."""


WORDS: Final = {
    Protection.MARKED: "marked: its directory holds a .nocleanup",
    Protection.LOCKED: "locked: another program has locked its directory",
    Protection.RESERVED: "reserved: a name that a file system gives",
    Protection.STICKY: "sticky: it has the sticky bit",
    Protection.INCOMPLETE: "incomplete: it is still being written, as its name or a sibling's says",
    Protection.EXCLUDED: "excluded: or an earlier rule's",
    Protection.MOUNT: "mount: something else is mounted there",
    Protection.UNREADABLE: "unreadable: it cannot be read",
}
"""For a person."""


def protection_of_directory(fd: int, *, exclusive: bool) -> Protection | None:
    """Whether an open directory is left alone with all that is below. `exclusive` as in `locking.locked`.

    Raises OSError where that cannot be told: then the directory cannot be worked in either.
    """
    return marker_of(fd) or (Protection.LOCKED if is_locked(fd, exclusive=exclusive) else None)


def marker_of(fd: int) -> Protection | None:
    """`MARKED` if an open directory holds a marker. Raises OSError."""
    try:
        os.stat(MARKER, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Protection.MARKED


def any_reserved(names: str) -> bool:
    """Whether a file among joined names may be one of the file system's own: a quick look, nearly always no."""
    return _NFS in names or _FUSE in names


def is_reserved(name: bytes) -> bool:
    """Whether a file system keeps a file of this name for itself."""
    return name.startswith(_RESERVED)


def protection_of_file(name: bytes, mode: int) -> Protection | None:
    """Whether a file is left alone whatever its age."""
    if is_reserved(name):
        return Protection.RESERVED
    return Protection.STICKY if mode & modes.S_ISVTX else None
