"""Directories that this run emptied: they go too, where a rule says so. Nothing else that is empty does."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from housekeeper_api.task import Rule
from housekeeper_worker.audit import Audit
from housekeeper_worker.logs import log
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.faults import HARMLESS, classify_removal, explain
from housekeeper_worker.volume.locking import locked
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.root import VolumeRoot

_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}


class EmptiedDirectories:
    """Directories from which the last that went did so for a rule that wants them gone when they are empty."""

    def __init__(
        self, root: VolumeRoot, tally: Tally, audit: Audit, stop: Stop, start: bytes, rules: Sequence[Rule]
    ) -> None:
        """`start`, where the walk began, stays, as does all that is not below it."""
        self._root = root
        self._tally = tally
        self._audit = audit
        self._stop = stop
        self._start = start
        self._rules = {
            number
            for number, rule in enumerate(rules)
            # What is in quarantine may come back.
            if rule.remove_empty_directories == "EmptiedByThisRun" and rule.action != "Quarantine"
        }
        self._quarantining = {number for number, rule in enumerate(rules) if rule.action == "Quarantine"}
        self._touched: dict[bytes, None] = {}
        self._awaited: set[bytes] = set()
        """Where something may come back from quarantine."""

    def note(self, directory: bytes, rule: int) -> None:
        """Take note that something in `directory` went for a rule, given by its number: for good, or into quarantine.

        What went for a rule that wants its directories left takes it out again: that rule has emptied it, if anybody.
        """
        if rule in self._quarantining:
            self._awaited.add(directory)
        if rule in self._rules:
            self._touched[directory] = None
        else:
            self._touched.pop(directory, None)

    def remove(self) -> None:
        """Remove those that are empty, and above each what is empty without it. Raises `AuditLost`."""
        if not self._touched:
            return
        # The deepest first: whatever is above one of them is looked at when nothing below it is left to be.
        by_depth: dict[int, set[bytes]] = {}
        for path in self._touched:
            by_depth.setdefault(path.count(b"/"), set()).add(path)
        self._touched.clear()
        depth = max(by_depth)
        while depth >= 0 and self._stop.reason is None:
            paths = sorted(filter(self._may_go, by_depth.pop(depth, ())))
            if paths:
                self._audit.intent(paths[0], paths[-1], len(paths))
            for path in paths:
                if self._remove(path):
                    above = path.rpartition(b"/")[0]
                    if above:
                        by_depth.setdefault(depth - 1, set()).add(above)
            depth -= 1
        self._audit.flush()

    def _may_go(self, path: bytes) -> bool:
        if path in self._awaited:
            return False
        return bool(path) and (not self._start or path.startswith(self._start + b"/"))

    def _remove(self, path: bytes) -> bool:
        """Remove one directory if it is empty. Returns whether it is gone."""
        above, _, name = path.rpartition(b"/")
        try:
            # Opening it finds out what it is: no link, and no mount point. An empty directory holds no marker.
            with self._root.directory(path, for_reading=True) as fd:
                with os.scandir(fd) as entries:
                    if next(entries, None) is not None:
                        return False
                with locked(fd, exclusive=True) as free, self._root.directory(above, for_reading=False) as parent:
                    if not free or not _is_same(fd, parent, name):
                        return False
                    try:
                        os.rmdir(name, dir_fd=parent)
                    except OSError as error:
                        fault = classify_removal(error, parent, name)
                        if error.errno in _NOT_EMPTY or fault in HARMLESS:
                            return False
                        if self._tally.wants_error(fault):
                            self._tally.add_error(explain(fault, error, self._root, path, above))
                        return False
        except OSError as error:
            log("info", "an emptied directory stays", path=shown(path), error=error.strerror)
            return False
        self._tally.removed_directories += 1
        self._audit.file("removedDirectory", path, '"reason":"emptied by this run"')
        return True


def _is_same(fd: int, parent: int, name: bytes) -> bool:
    stat, there = os.fstat(fd), os.stat(name, dir_fd=parent, follow_symlinks=False)
    return (stat.st_dev, stat.st_ino) == (there.st_dev, there.st_ino)
