"""What is in a directory that is one item: its fingerprint, and whether anything in it keeps the whole from going."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat as modes
from collections.abc import Callable, Mapping
from typing import Final

from housekeeper_worker.retention.incomplete import has_mark
from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.select import Scope
from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.faults import Fault
from housekeeper_worker.volume.lease import Leases, Use
from housekeeper_worker.volume.protected import (
    RESERVED_DIRECTORIES,
    Protection,
    any_reserved,
    protection_of_directory,
    protection_of_file,
)
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.stats import bounded
from housekeeper_worker.volume.syscalls import statx
from housekeeper_worker.volume.tree import Part, Unreachable, parts

Inode = tuple[int, int]
"""Device and inode."""

_BLOCK: Final = 512
_LONG_AGO: Final = -(2**63)
MAX_LINKED: Final = 500_000
"""Inodes with several names that are remembered at once. Of more, each name counts."""

_BROWSER_LOCKS: Final = {"SingletonLock", "lock"}
"""Names of links whose target says who has a browser's profile: `HOST-PID` (Chromium), `ADDRESS:+PID` (Firefox)."""
_HOLDER: Final = re.compile(rb"(?P<host>.+)(?:-|:\+)(?P<pid>[0-9]{1,10})")
STALE_LOCK_NS: Final = 7 * 86_400 * 1_000_000_000
"""After so long without any change in a profile, a lock that cannot be checked is taken for what a crash left."""


class Stays(Exception):
    """The whole directory stays. `path` in it is why, empty for the directory itself."""

    def __init__(self, why: Protection | Fault, path: bytes = b"", error: OSError | None = None) -> None:
        self.why = why
        self.path = path
        self.error = error
        super().__init__(why, path)


class Stopped(Exception):
    """The run must end."""


@dataclasses.dataclass(slots=True)
class Openers:
    """How openers of the files inside are looked for."""

    leases: Leases
    strict: bool
    """Whether a file of which nobody can tell keeps the whole."""
    now_ns: int
    left: int | None = None
    """Files that are still looked at; None: all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What else is looked at."""

    foreign: Callable[[Scope, bytes, list[str], list[str], list[str]], str | None] | None = None
    """From a scope, a directory in the item, its files and sub-directories to one that is not the rule's own."""
    scope: Scope | None = None
    """Of the item, for `foreign`."""
    incomplete: bool = False
    """Whether anything incomplete keeps the whole."""
    openers: Openers | None = None
    removable: bool = False
    """Whether it must be possible to empty it."""
    touched: Mapping[Inode, int] = dataclasses.field(default_factory=dict)
    """Inodes of which this run removed another name, with the ctime that this gave them."""


@dataclasses.dataclass(slots=True)
class Contents:
    """A fingerprint: whatever changes inside changes it, since it moves some change time beyond the newest."""

    count: int = 0
    """Entries, with the directory itself."""
    size: int = 0
    """Bytes of all that is no directory."""
    allocated: int = 0
    """Bytes on disk of everything; a file with several names inside counts once."""
    modified: int = _LONG_AGO
    """Newest mtime, ns; directories included."""
    changed: int = _LONG_AGO
    """Newest ctime, ns."""
    inside_changed: int = _LONG_AGO
    """Newest ctime of all but the directory itself, which a rename moves."""
    touched: bool = False
    """Whether this run removed other names of something inside: its ctime is then left out."""
    use: Use = Use.NOT_OPEN
    """What is known about openers, the worst."""
    links: dict[Inode, tuple[int, int, int]] = dataclasses.field(default_factory=dict)
    """Files with several names: how many of them are inside, how many there are, bytes on disk."""
    lock: bytes | None = None
    """Path of a browser's lock of which nobody can tell whether it is held."""

    def is_like(self, other: Contents) -> bool:
        """Whether nothing inside changed since `other`, though the directory itself may have been renamed."""
        return (self.count, self.size, self.allocated, self.inside_changed) == (
            other.count,
            other.size,
            other.allocated,
            other.inside_changed,
        )


def inspect(root: VolumeRoot, top: int, look: Look, stop: Stop) -> Contents:
    """Look through the open directory `top`. Raises `Stays` and `Stopped`."""
    contents = Contents()
    try:
        for part in parts(root, top, look.scope, _below):
            if stop.reason is not None:
                raise Stopped
            _look_at(root, part, look, contents)
    except Unreachable as error:
        why = Protection.MOUNT if error.error.errno == errno.EXDEV else Protection.UNREADABLE
        raise Stays(why, error.path, error.error) from error
    if contents.lock is not None and look.openers is not None:
        _must_be_stale(contents, contents.lock, look.openers.now_ns)
    return contents


def _below(scope: Scope | None, name: str) -> Scope | None:
    return None if scope is None else scope.below(name)


def _look_at(root: VolumeRoot, part: Part[Scope | None], look: Look, contents: Contents) -> None:
    if part.first:
        _look_at_directory(root, part, look, contents)
    directories: list[str] = []
    others: list[os.DirEntry[str]] = []
    for entry in part.entries:
        if entry.is_dir(follow_symlinks=False):
            directories.append(entry.name)
            if entry.name in RESERVED_DIRECTORIES:
                raise Stays(Protection.RESERVED, join(part.path, os.fsencode(entry.name)))
        else:
            others.append(entry)
    if look.incomplete:
        for entry in part.entries:
            if has_mark(entry.name):
                raise Stays(Protection.INCOMPLETE, join(part.path, os.fsencode(entry.name)))
    if part.state is not None and look.foreign is not None:
        files = [entry.name for entry in others if entry.is_file(follow_symlinks=False)]
        special = [entry.name for entry in others if not entry.is_file(follow_symlinks=False)]
        found = look.foreign(part.state, part.path, files, special, directories)
        if found is not None:
            raise Stays(Protection.EXCLUDED, join(part.path, os.fsencode(found)))
    if others:
        _look_at_files(root, part, others, look, contents)


def _look_at_directory(root: VolumeRoot, part: Part[Scope | None], look: Look, contents: Contents) -> None:
    stat = os.fstat(part.fd)
    try:
        protection = protection_of_directory(part.fd, exclusive=root.exclusive)
    except OSError as error:
        raise Stays(Protection.UNREADABLE, part.path, error) from error
    if protection is not None:
        raise Stays(protection, part.path)
    if look.removable:
        # What cannot be emptied must not be begun with.
        if not os.access(b".", os.W_OK | os.X_OK, dir_fd=part.fd, effective_ids=True):
            raise Stays(Fault.PERMISSION, part.path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        _must_be_mutable(part.fd, b"", part.path)
        if stat.st_mode & modes.S_ISVTX and os.geteuid() not in {0, stat.st_uid}:
            raise Stays(Fault.PERMISSION, part.path, PermissionError(errno.EPERM, os.strerror(errno.EPERM)))
    contents.count += 1
    contents.allocated += stat.st_blocks * _BLOCK
    contents.modified = max(contents.modified, bounded(stat.st_mtime_ns))
    contents.changed = max(contents.changed, stat.st_ctime_ns)
    if part.path:
        contents.inside_changed = max(contents.inside_changed, stat.st_ctime_ns)


def _look_at_files(
    root: VolumeRoot, part: Part[Scope | None], entries: list[os.DirEntry[str]], look: Look, contents: Contents
) -> None:
    entries.sort(key=_inode)
    found: list[os.DirEntry[str]] = []
    stats: list[os.stat_result] = []
    for entry in entries:
        try:
            stats.append(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue  # it went while we looked: as if it had never been there
        except OSError as error:
            raise Stays(Protection.UNREADABLE, join(part.path, os.fsencode(entry.name)), error) from error
        found.append(entry)
    for entry, stat in zip(found, stats, strict=True):
        if stat.st_ino != entry.inode() and root.is_mount(part.fd, os.fsencode(entry.name)):
            raise Stays(Protection.MOUNT, join(part.path, os.fsencode(entry.name)))
    if any(stat.st_mode & modes.S_ISVTX for stat in stats) or any_reserved("/".join(entry.name for entry in found)):
        for entry, stat in zip(found, stats, strict=True):
            protection = protection_of_file(os.fsencode(entry.name), stat.st_mode)
            if protection is not None:
                raise Stays(protection, join(part.path, os.fsencode(entry.name)))
    if look.removable:
        for entry in found:
            _must_be_mutable(part.fd, os.fsencode(entry.name), join(part.path, os.fsencode(entry.name)))
    if look.openers is not None:
        _look_for_openers(part, found, stats, look.openers, contents)
    _add(found, stats, look, contents)


def _add(found: list[os.DirEntry[str]], stats: list[os.stat_result], look: Look, contents: Contents) -> None:
    contents.count += len(found)
    for stat in stats:
        contents.size += stat.st_size
        contents.modified = max(contents.modified, bounded(stat.st_mtime_ns))
        allocated = stat.st_blocks * _BLOCK
        if stat.st_nlink > 1:
            inode = stat.st_dev, stat.st_ino
            known = contents.links.get(inode)
            if known is not None:
                contents.links[inode] = known[0] + 1, stat.st_nlink, allocated
                allocated = 0
            elif len(contents.links) < MAX_LINKED:
                contents.links[inode] = 1, stat.st_nlink, allocated
        contents.allocated += allocated
        if look.touched and look.touched.get((stat.st_dev, stat.st_ino)) == stat.st_ctime_ns:
            contents.touched = True
            continue
        contents.changed = max(contents.changed, stat.st_ctime_ns)
        contents.inside_changed = max(contents.inside_changed, stat.st_ctime_ns)


def _look_for_openers(
    part: Part[Scope | None],
    found: list[os.DirEntry[str]],
    stats: list[os.stat_result],
    openers: Openers,
    contents: Contents,
) -> None:
    for entry, stat in zip(found, stats, strict=True):
        name = os.fsencode(entry.name)
        if modes.S_ISLNK(stat.st_mode):
            if entry.name in _BROWSER_LOCKS:
                _look_at_lock(part, entry.name, contents)
            continue
        if not modes.S_ISREG(stat.st_mode):
            continue
        if openers.left is not None:
            if openers.left <= 0:
                contents.use = Use.NOT_LOOKED_AT
                continue
            openers.left -= 1
        try:
            use = openers.leases.look(part.fd, name, stat.st_dev)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Stays(Protection.UNREADABLE, join(part.path, os.fsencode(entry.name)), error) from error
        if use is Use.OPEN:
            raise Stays(Fault.IN_USE, join(part.path, os.fsencode(entry.name)))
        if use is Use.UNKNOWN:
            if openers.strict:
                raise Stays(Fault.UNKNOWN_USE, join(part.path, os.fsencode(entry.name)))
            contents.use = use


def _look_at_lock(part: Part[Scope | None], name: str, contents: Contents) -> None:
    """Look whether a link is a browser's lock, and whether the process that it names is there."""
    try:
        held = _HOLDER.fullmatch(os.readlink(os.fsencode(name), dir_fd=part.fd))
    except OSError:
        return
    if held is None:
        return
    contents.lock = join(part.path, os.fsencode(name))
    if held["host"] == os.fsencode(os.uname().nodename) and os.path.exists(b"/proc/%d" % int(held["pid"])):
        raise Stays(Fault.IN_USE, contents.lock)


def _must_be_stale(contents: Contents, lock: bytes, now_ns: int) -> None:
    # Another pod has other process numbers, maybe under the same host name: only time tells.
    if now_ns - max(contents.modified, contents.changed) < STALE_LOCK_NS:
        raise Stays(Fault.IN_USE, lock)


def _must_be_mutable(directory: int, name: bytes, path: bytes) -> None:
    try:
        extended = statx(directory, name)
    except OSError:
        return  # then its removal will tell
    if extended.immutable or extended.append_only:
        raise Stays(Fault.IMMUTABLE, path, PermissionError(errno.EPERM, os.strerror(errno.EPERM)))


_inode = os.DirEntry.inode
