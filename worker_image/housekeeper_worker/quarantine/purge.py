"""The purge: quarantines of a policy whose time is over go for good. Killed anywhere, the next purge goes on.

The manifest of a quarantine goes last, so that what is left is always known. It works below the quarantine's own
descriptor, one directory of at most 500 items at a time.

A directory that is an item is emptied as in the trash. Before its first file goes it loses the name that the manifest
knows, so that no restore ever brings half of it back; `NUMBER.0` and what emptying makes of it is finished by the next
purge.
"""

from __future__ import annotations

import errno
import os
import stat as modes
import time
from collections.abc import Sequence
from typing import Final

from housekeeper_api.task import OpenFiles
from housekeeper_worker.audit import Audit
from housekeeper_worker.logs import timestamp
from housekeeper_worker.quarantine.manifest import Damaged, Header
from housekeeper_worker.quarantine.place import (
    OPEN_DIRECTORY,
    Quarantine,
    all_of,
    batches,
    is_begun,
    opened,
    path_of,
    remove_if_empty,
)
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.contents import Look, Openers, Stays, Stopped, inspect
from housekeeper_worker.volume.emptying import Emptying
from housekeeper_worker.volume.faults import HARMLESS, Fault, classify, explain
from housekeeper_worker.volume.lease import Leases, breaks_ignored
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.protected import Protection
from housekeeper_worker.volume.root import VolumeRoot

_SECOND: Final = 1_000_000_000
_HOUR: Final = 3600 * _SECOND
_BEGUN_AT_ONCE: Final = 64
"""Directories between two syncs."""
_WAITS: Final = {Fault.IN_USE, Fault.UNKNOWN_USE, Protection.MARKED, Protection.LOCKED}
"""Why a directory is not purged yet, which somebody wants to be so."""


class Purge:
    """One purge of the quarantines of the policy in `header`, but for `current`, which this run has just made."""

    def __init__(
        self,
        root: VolumeRoot,
        header: Header,
        current: bytes,
        now_ns: int,
        tally: Tally,
        audit: Audit,
        stop: Stop,
        open_files: OpenFiles,
    ) -> None:
        """`open_files` is about directories, in which a program may have gone on working."""
        self._root = root
        self._header = header
        self._current = current
        self._now = now_ns
        self._tally = tally
        self._audit = audit
        self._stop = stop
        openers = None if open_files == "Ignore" else Openers(Leases(), open_files == "Strict", now_ns)
        self._look = Look(openers=openers, removable=True)

    def run(self) -> None:
        """Purge what is due. Its errors are counted; raises `AuditLost`."""
        try:
            with all_of(self._root) as (above, names), breaks_ignored():
                due = self._due(above, [name for name in names if name != self._current])
                for name in due:
                    if self._stop.reason is None:
                        self._purge(above, name)
        except FileNotFoundError:
            return
        except PermissionError:
            return  # another user's: there is nothing of this policy in it, or moving into it has failed and said so
        except OSError as error:
            self._count(error, path_of(b"").rstrip(b"/"))

    def _due(self, above: int, names: list[bytes]) -> list[bytes]:
        """Quarantines to purge; none if the clock is behind one of them, for then nobody knows how old the others are.

        What was begun and never held anything counts as due after an hour: nobody can be about to use it.
        """
        due = []
        for name in names:
            try:
                with opened(above, name) as found:
                    if found is None:
                        made = os.stat(name, dir_fd=above, follow_symlinks=False).st_mtime_ns
                        if self._now - made > _HOUR:
                            due.append(name)
                    elif (found.header.namespace, found.header.policy) == (self._header.namespace, self._header.policy):
                        # A run that waited for another one of its policy began before what that one moved.
                        if found.time_ns is not None and found.time_ns > max(self._now, time.time_ns()):
                            self._tally.add_note(
                                f"nothing was purged: the clock is behind the quarantine {shown(name)}, which was made "
                                f"at {timestamp(found.time_ns)[:19]}Z; set the clock right"
                            )
                            return []
                        if self._until(found) <= self._now:
                            due.append(name)
            except Damaged as error:
                self._tally.add_note(f"{shown(path_of(name))} is left alone: {error}")
            except OSError as error:
                self._count(error, path_of(name))
        return due

    def _until(self, found: Quarantine) -> int:
        """What was promised when it was made is kept; a policy that promises more by now keeps that."""
        return max(found.until_ns, (found.time_ns or 0) + int(self._header.keep_seconds * _SECOND))

    def _purge(self, above: int, name: bytes) -> None:
        before = self._tally.purged
        self._audit.event("purge", quarantine=shown(name))
        try:
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=above)
            try:
                for batch in sorted(batches(fd), key=int):
                    self._empty(fd, batch, path_of(name) + b"/" + batch)
                    if self._stop.reason is not None:
                        return
                remove_if_empty(above, name, fd)
            finally:
                os.close(fd)
        except OSError as error:
            self._count(error, path_of(name))
        finally:
            self._audit.event("purged", quarantine=shown(name), files=self._tally.purged - before)

    def _empty(self, quarantine: int, batch: bytes, path: bytes) -> None:
        fd = os.open(batch, OPEN_DIRECTORY, dir_fd=quarantine)
        try:
            directories: list[bytes] = []
            for name in map(os.fsencode, os.listdir(fd)):
                if self._stop.reason is not None:
                    return
                try:
                    stat = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if modes.S_ISDIR(stat.st_mode):
                        directories.append(name)
                        continue
                    os.unlink(name, dir_fd=fd)
                except OSError as error:
                    self._count(error, path + b"/" + name)
                    continue
                self._tally.purged += 1
                if stat.st_nlink == 1:
                    self._tally.bytes_purged += stat.st_blocks * 512
            if directories:
                self._empty_directories(fd, directories, path)
        finally:
            os.close(fd)

    def _empty_directories(self, fd: int, names: Sequence[bytes], path: bytes) -> None:
        """Purge the directories `names` of an open batch."""
        begun = {name.partition(b".")[0]: None for name in names if is_begun(name)}
        whole = [name for name in names if name.isdigit() and name not in begun]
        for name in names:
            if not name.isdigit() and not is_begun(name):
                self._count(OSError(errno.EISDIR, os.strerror(errno.EISDIR)), path + b"/" + name)
        emptying = Emptying(self._root, fd, self._stop)
        self._finish(emptying, list(begun), path)
        for first in range(0, len(whole), _BEGUN_AT_ONCE):
            chosen = [
                name for name in whole[first : first + _BEGUN_AT_ONCE] if self._begin(fd, name, path + b"/" + name)
            ]
            if chosen:
                os.fsync(fd)
            self._finish(emptying, chosen, path)

    def _begin(self, fd: int, name: bytes, path: bytes) -> bool:
        """Take the name away under which a directory could be restored, if it can be emptied. Returns whether it is."""
        if self._stop.reason is not None:
            return False
        try:
            top = self._root.open_below(fd, name)
            try:
                inspect(self._root, top, self._look, self._stop)
            finally:
                os.close(top)
            os.rename(name, name + b".0", src_dir_fd=fd, dst_dir_fd=fd)
        except Stays as stays:
            self._stays(stays, path)
            return False
        except Stopped:
            return False
        except OSError as error:
            self._count(error, path)
            return False
        return True

    def _finish(self, emptying: Emptying, names: Sequence[bytes], path: bytes) -> None:
        for name in names:
            if self._stop.reason is not None:
                return
            done = emptying.empty(name)
            self._tally.purged += done.whole
            self._tally.bytes_purged += done.freed
            if done.error is not None:
                self._count(done.error, path + b"/" + name)

    def _stays(self, stays: Stays, path: bytes) -> None:
        """Tell why a directory is still in quarantine, and can be restored."""
        where = f", {shown(stays.path)}" if stays.path else ""
        told = f"{shown(path)} is not purged yet ({stays.why}{where})"
        if stays.why in _WAITS:
            self._tally.add_note(told)
        elif stays.error is not None and stays.why is not Protection.MOUNT:
            self._count(stays.error, path)
        elif self._tally.wants_error(Fault.OTHER):
            self._tally.add_error(told)

    def _count(self, error: OSError, path: bytes) -> None:
        fault = classify(error)
        if fault is Fault.GONE:
            return
        if fault in HARMLESS:
            fault = Fault.OTHER  # to files of others; here nobody else has any business
        if self._tally.wants_error(fault):
            self._tally.add_error(explain(fault, error, self._root, path, path.rpartition(b"/")[0]))
