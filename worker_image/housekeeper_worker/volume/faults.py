"""What can go wrong with one file or directory: the class of the error, and what to do about it."""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from typing import Final

from housekeeper_worker.volume.acts import Unmovable
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.own import NotOurs
from housekeeper_worker.volume.ownership import advice
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.syscalls import Extended, statx


class Fault(StrEnum):
    """Why a file that should go stayed. The values are the keys of `skipped` in a result."""

    GONE = "gone"
    """Somebody else removed it first."""
    CHANGED = "changed"
    """It is not what was planned any more, or its directory is not."""
    IN_USE = "inUse"
    """A process has it open, or the kernel holds it: a mount point, a swap file."""
    UNKNOWN_USE = "unknownUse"
    """Nobody can tell whether it is open, and the policy says Strict."""
    MARKED = "marked"
    """A `.nocleanup` came into its directory meanwhile."""
    LOCKED = "locked"
    """Another program has locked its directory."""
    PERMISSION = "permission"
    IMMUTABLE = "immutable"
    """It, or its directory, is immutable or append-only."""
    READ_ONLY = "readOnly"
    IO = "io"
    NO_SPACE = "noSpace"
    NAME = "name"
    """The file system does not take the name."""
    UNMOVABLE = "unmovable"
    """It cannot be moved into quarantine, or, a directory, into the trash; it is never removed instead."""
    OTHER = "other"


MAX_IO_ERRORS: Final = 5
"""I/O errors, in a row where files are removed, that stop a run: the disk is failing, and each call makes it worse."""

HARMLESS: Final = frozenset({Fault.GONE, Fault.CHANGED, Fault.IN_USE, Fault.UNKNOWN_USE, Fault.MARKED, Fault.LOCKED})
"""Not errors: files come, go and change while a run works."""

_WORDS: Final = {
    Fault.GONE: "somebody else removed it first",
    Fault.CHANGED: "it is not what was planned any more",
    Fault.IN_USE: "a process has it open",
    Fault.UNKNOWN_USE: "nobody can tell whether it is open",
    Fault.MARKED: "a .nocleanup came into its directory",
    Fault.LOCKED: "another program has locked its directory",
    Fault.PERMISSION: "the worker may not remove it",
    Fault.IMMUTABLE: "it or its directory is immutable or append-only",
    Fault.READ_ONLY: "the file system is read-only",
    Fault.IO: "the disk answers with errors",
    Fault.NO_SPACE: "the file system has no room left even to remove or move it",
    Fault.NAME: "the file system does not take its name",
    Fault.UNMOVABLE: "it cannot be moved",
    Fault.OTHER: "the file system refused",
}

_BY_NUMBER: Final = {
    errno.ENOENT: Fault.GONE,
    errno.ENOTDIR: Fault.CHANGED,
    errno.ELOOP: Fault.CHANGED,
    errno.EISDIR: Fault.CHANGED,
    errno.EXDEV: Fault.CHANGED,
    errno.ESTALE: Fault.CHANGED,
    errno.ENXIO: Fault.CHANGED,
    errno.EBUSY: Fault.IN_USE,
    errno.ETXTBSY: Fault.IN_USE,
    errno.EACCES: Fault.PERMISSION,
    errno.EPERM: Fault.PERMISSION,
    errno.EROFS: Fault.READ_ONLY,
    errno.EIO: Fault.IO,
    errno.EUCLEAN: Fault.IO,
    errno.EREMOTEIO: Fault.IO,
    errno.ENOSPC: Fault.NO_SPACE,
    errno.EDQUOT: Fault.NO_SPACE,
    errno.ENAMETOOLONG: Fault.NAME,
    errno.EINVAL: Fault.NAME,
    errno.EILSEQ: Fault.NAME,
}


def why_it_stays(fault: Fault) -> str:
    """The reason of a decision about an item that should go and stayed, or would: the class, and what it means."""
    return f"{fault}: {_WORDS[fault]}"


def classify(error: OSError) -> Fault:
    """The class of an error by its number alone."""
    return _BY_NUMBER.get(error.errno or 0, Fault.OTHER)


def classify_removal(error: OSError, directory: int, name: bytes) -> Fault:
    """The class of an error of an act: EPERM is told apart into immutable and permission."""
    if isinstance(error, Unmovable):
        return Fault.UNMOVABLE
    fault = classify(error)
    if error.errno == errno.EPERM and any(_held(directory, path) for path in (name, b"")):
        return Fault.IMMUTABLE
    return fault


def _held(directory: int, path: bytes) -> bool:
    try:
        extended: Extended = statx(directory, path)
    except OSError:
        return False
    return extended.immutable or extended.append_only


def explain(fault: Fault, error: OSError, root: VolumeRoot, path: bytes, directory: bytes) -> str:
    """A sentence about `path`: what is wrong, and what to do. `directory` is where the permission is missing."""
    where = shown(path) or "the volume's root"
    if isinstance(error, NotOurs):
        return f"{where}: {error.strerror}"
    match fault:
        case Fault.PERMISSION:
            owner = root.owner(directory)
            what = shown(directory) or "the volume's root"
            held = f"its directory {what}: {advice(owner)}" if owner is not None else "its directory"
            if path == directory:
                return (
                    f"{where}: no permission to read it: {advice(owner)}" if owner is not None else f"{where}: denied"
                )
            return f"{where}: no permission in {held}"
        case Fault.IMMUTABLE:
            return f"{where}: it or its directory is immutable or append-only; remove the attribute (chattr -i -a)"
        case Fault.READ_ONLY:
            return (
                f"{where}: the volume is mounted read-only; look at the claim's access mode and the node's kernel log"
            )
        case Fault.IO:
            return f"{where}: {error.strerror}; check the disk and the node's kernel log"
        case Fault.NO_SPACE:
            return (
                f"{where}: the file system has no room left even to remove or move it; "
                "free some by hand (truncate a file)"
            )
        case Fault.UNMOVABLE:
            if isinstance(error, Unmovable):
                return f"{where}: stays, for it cannot be moved into quarantine: {error.strerror}"
            return (
                f"{where}: the file system cannot rename it into .housekeeper, and it is never removed piece by piece"
            )
        case Fault.NAME:
            return f"{where}: the file system does not take this name ({error.strerror})"
        case _:
            return f"{where}: {error.strerror or os.strerror(error.errno or 0)}"
