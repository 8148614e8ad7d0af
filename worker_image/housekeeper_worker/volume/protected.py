"""What is left alone in any case: by a marker, by a lock, by the name that a file system gives its own, by mode."""

from __future__ import annotations

import functools
import operator
import os
import stat as modes
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from housekeeper_worker.volume.locking import is_locked

MARKER: Final = b".nocleanup"
"""A directory that holds anything of this name is not entered, nor is what is below."""
RESERVED_DIRECTORIES: Final = frozenset({"lost+found", ".snapshot", ".zfs"})
"""fsck's own, and the windows that file systems give on their snapshots."""
_NFS, _FUSE = ".nfs", ".fuse_hidden"
"""Begin of the names that NFS and FUSE give to files which were removed while they were open."""


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


def any_protected(names: Sequence[str], stats: Sequence[os.stat_result]) -> bool:
    """Whether one of these files is protected: a quick look, since it is nearly always no."""
    joined = "".join(names)
    return bool(
        functools.reduce(operator.or_, map(_mode, stats), 0) & modes.S_ISVTX or _NFS in joined or _FUSE in joined
    )


def protection_of_file(name: str, stat: os.stat_result) -> Protection | None:
    """Whether a file is left alone whatever its age."""
    if name.startswith((_NFS, _FUSE)):
        return Protection.RESERVED
    return Protection.STICKY if stat.st_mode & modes.S_ISVTX else None


_mode = operator.itemgetter(modes.ST_MODE)
