"""The place below the root where a walk starts: `spec.target.volume.path`."""

from __future__ import annotations

import errno
import os

from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.ownership import unreadable
from housekeeper_worker.volume.root import OWN_DIRECTORY, VolumeRoot


def start_path(path: str) -> bytes:
    """`spec.target.volume.path` as bytes. Raises `CouldNotRun` where it could never be below the root."""
    encoded = os.fsencode(path).strip(b"/") if path else b""
    components = encoded.split(b"/") if encoded else []
    if path.startswith("/") or any(component in {b"", b".", b".."} for component in components):
        raise CouldNotRun(f"path {path!r} must be relative to the volume's root, without empty, . or .. components")
    if components and components[0] == OWN_DIRECTORY:
        raise CouldNotRun(f"path {path!r} lies in .housekeeper, which holds Housekeeper's own files")
    return encoded


def check_start(root: VolumeRoot, path: bytes) -> None:
    """Open `path` once before the walk, so that a wrong one is told in a sentence. Raises `CouldNotRun`."""
    where = f"path {shown(path)} of the volume" if path else "the volume's root"
    try:
        with root.directory(path, for_reading=True):
            return
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise CouldNotRun(
                f"{where} does not exist: check spec.target.volume.path, and that the right claim is named"
            ) from None
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            raise CouldNotRun(
                f"{where} is no directory, or leads through a symbolic link, which is never followed: "
                "write the real path in spec.target.volume.path"
            ) from None
        if error.errno == errno.EXDEV:
            raise CouldNotRun(
                f"{where} is on another mount, which is never entered: name the claim that is mounted there"
            ) from None
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise CouldNotRun(unreadable(where, root.owner(path))) from None
        raise CouldNotRun(f"{where} cannot be opened: {error.strerror}") from error
