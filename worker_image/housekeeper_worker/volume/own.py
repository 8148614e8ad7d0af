"""Housekeeper's own directories on a volume, below `.housekeeper`: for the worker's user alone, reached without links.

What stands in them is trusted: files are purged and put back by it. So a directory that another user owns is refused,
whatever it holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
from collections.abc import Iterator
from typing import Final

from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.root import OWN_DIRECTORY, VolumeRoot

_MODE: Final = 0o700


class NotOurs(OSError):
    """A directory of ours cannot be used or made. `strerror` is a sentence that says what to do."""


@contextlib.contextmanager
def own_directory(root: VolumeRoot, *names: bytes, create: bool) -> Iterator[int]:
    """A descriptor of `.housekeeper/NAME/…`, closed afterwards. `create` makes what is missing, mode 0700.

    Raises `FileNotFoundError` where it is missing and not to be made, `NotOurs`, and OSError.
    """
    path = b""
    for name in (OWN_DIRECTORY, *names):
        above, path = path, path + b"/" + name if path else name
        if create:
            _make(root, above, name, path)
        with root.directory(path, for_reading=True) as fd:
            _must_be_ours(fd, path)
    with root.directory(path, for_reading=True) as fd:
        yield fd


def _make(root: VolumeRoot, above: bytes, name: bytes, path: bytes) -> None:
    try:
        with root.directory(above, for_reading=True) as fd, contextlib.suppress(FileExistsError):
            os.mkdir(name, _MODE, dir_fd=fd)
            os.fsync(fd)
    except PermissionError as error:
        owner = root.owner(above)
        whose = "" if owner is None else f", which belongs to uid {owner.st_uid}, mode {owner.st_mode & 0o7777:04o}"
        where = shown(above) or "the volume's root"
        raise NotOurs(
            error.errno,
            f"no permission to make {shown(path)} in {where}{whose}: make it once by hand, mode 0700, "
            f"owned by the worker's uid {os.geteuid()}",
        ) from error


def _must_be_ours(fd: int, path: bytes) -> None:
    stat = os.fstat(fd)
    if stat.st_uid != os.geteuid():
        raise NotOurs(
            errno.EPERM,
            f"{shown(path)} belongs to uid {stat.st_uid}, and this worker runs as uid {os.geteuid()}: run as its owner "
            "(spec.pod.securityContext.runAsUser), or chown -R it",
        )
    if modes.S_IMODE(stat.st_mode) & 0o077:
        os.fchmod(fd, _MODE)
