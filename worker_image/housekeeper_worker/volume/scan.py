"""The walk: every directory below a start, in windows of entries, without a stat of what nobody selected.

Directories are listed through descriptors. Symbolic links and special files are not followed and are no items, mounts
are not entered, `.housekeeper` at the root is not seen, and what is `protected` is left alone. The walk keeps its own
stack, so depth costs memory and no recursion, and never more than three descriptors.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from housekeeper_worker.retention.select import Scope
from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.protected import RESERVED_DIRECTORIES, Protection, marker_of, protection_of_directory
from housekeeper_worker.volume.root import OWN_DIRECTORY, VolumeRoot

WINDOW: Final = 20_000
"""Entries of one directory that are in memory at once."""

OnError = Callable[[bytes, OSError], None]
"""Called with the path of a directory that could not be listed."""

_OWN_NAME: Final = os.fsdecode(OWN_DIRECTORY)


class Window(NamedTuple):
    """Files of one directory, as long as its descriptor is open: until the next window is asked for."""

    directory: bytes
    """Path below the root; empty for the root itself."""
    fd: int
    files: list[os.DirEntry[str]]
    """Regular files."""
    scope: Scope


class Walk:
    """A walk and what it counted. Iterate over it once."""

    def __init__(self, root: VolumeRoot, start: bytes, scope: Scope, stop: Stop, on_error: OnError) -> None:
        self._root = root
        self._start = start
        self._scope = scope
        self._stop = stop
        self._on_error = on_error
        self.directories = 0
        """Directories entered."""
        self.mounts = 0
        """Mounts that were not entered."""
        self.others = 0
        """Symbolic links, sockets, devices …: seen, and no items."""
        self.protected: Counter[Protection] = Counter()
        """Directories left alone with all that is below them."""

    def __iter__(self) -> Iterator[Window]:
        stack: list[tuple[bytes, Scope]] = []
        scope = self._scope_of_start()
        if scope is not None and self._start_is_free():
            stack.append((self._start, scope))
        while stack and self._stop.reason is None:
            path, scope = stack.pop()
            try:
                with self._root.directory(path, for_reading=True) as fd:
                    if (protection := self._protection(path, fd)) is not None:
                        self.protected[protection] += 1
                        continue
                    self.directories += 1
                    yield from self._windows(path, fd, scope, stack)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    self.mounts += 1
                elif path == self._start or error.errno != errno.ENOENT:
                    self._on_error(path, error)

    def _scope_of_start(self) -> Scope | None:
        scope: Scope | None = self._scope
        for component in self._start.split(b"/") if self._start else ():
            if scope is None:
                break
            scope = scope.below(os.fsdecode(component))
        return scope

    def _start_is_free(self) -> bool:
        """Whether no directory above the start protects it. What cannot be told there comes up again at the start."""
        path = b""
        for component in self._start.split(b"/") if self._start else ():
            protection: Protection | None = None
            if os.fsdecode(component) in RESERVED_DIRECTORIES:
                protection = Protection.RESERVED
            else:
                try:
                    with self._root.directory(path, for_reading=False) as fd:
                        protection = marker_of(fd)
                    # A directory that only lets pass cannot be locked, so there is nothing to find out.
                    with contextlib.suppress(PermissionError), self._root.directory(path, for_reading=True) as fd:
                        protection = self._protection(path, fd)
                except OSError as error:
                    self._on_error(path, error)
                    return False
            if protection is not None:
                self.protected[protection] += 1
                return False
            path = path + b"/" + component if path else component
        return True

    def _protection(self, path: bytes, fd: int) -> Protection | None:
        # The root carries a lock of our own.
        return protection_of_directory(fd, exclusive=self._root.exclusive) if path else marker_of(fd)

    def _windows(self, path: bytes, fd: int, scope: Scope, stack: list[tuple[bytes, Scope]]) -> Iterator[Window]:
        prefix = path + b"/" if path else b""
        with os.scandir(fd) as entries:
            while window := list(islice(entries, WINDOW)):
                files = [entry for entry in window if entry.is_file(follow_symlinks=False)]
                if len(files) != len(window):
                    for entry in window:
                        if entry.is_dir(follow_symlinks=False):
                            name = entry.name
                            if not path and name == _OWN_NAME:
                                continue
                            if (below := scope.below(name)) is not None:
                                if name in RESERVED_DIRECTORIES:
                                    self.protected[Protection.RESERVED] += 1
                                else:
                                    stack.append((prefix + os.fsencode(name), below))
                        elif not entry.is_file(follow_symlinks=False):
                            self.others += 1
                yield Window(path, fd, files, scope)
                if self._stop.reason is not None:
                    return
