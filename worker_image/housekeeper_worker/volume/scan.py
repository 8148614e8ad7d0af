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
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.select import Inside, RulesLeft, Scope
from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.protected import RESERVED_DIRECTORIES, Protection, marker_of, protection_of_directory
from housekeeper_worker.volume.root import OWN_DIRECTORY, VolumeRoot

Entry = os.DirEntry[str]
"""A name in a directory, with its type and inode."""
_is_symlink, _is_file = os.DirEntry.is_symlink, os.DirEntry.is_file

WINDOW: Final = 20_000
"""Entries of one directory that are in memory at once."""

OnError = Callable[[bytes, OSError], None]
"""Called with the path of a directory that could not be listed."""

_OWN_NAME: Final = os.fsdecode(OWN_DIRECTORY)


class DirectoryItem(NamedTuple):
    """A directory that is an item: none of what is in it is one of its own."""

    name: str
    rule: int
    """Number of the rule that takes it, from 0."""
    group: int
    inside: Inside


SelectDirectories = Callable[[bytes, Scope, list[str]], list[DirectoryItem]]
"""From a directory and the names of its sub-directories to those that are items."""


class Window(NamedTuple):
    """Files of one directory, as long as its descriptor is open: until the next window is asked for."""

    directory: bytes
    """Path below the root; empty for the root itself."""
    fd: int
    files: list[Entry]
    """Regular files."""
    scope: Scope
    items: list[DirectoryItem]
    """Sub-directories that are items."""


class Place(NamedTuple):
    """A directory to look through, or the share of one process in a large one."""

    path: bytes
    scope: Scope | None
    """None: it comes from another process, and `rules` say which it is."""
    share: int = 0
    shares: int = 1
    """Into how many the files are divided. Sub-directories belong to the first share."""
    rules: RulesLeft = ()
    """What the rules can still match, where there is no scope."""

    def sent(self) -> Place:
        """The same for another process, which has scopes of its own."""
        return self if self.scope is None else self._replace(scope=None, rules=self.scope.rules)


Stack = list[Place]


class Sharing(Protocol):
    """Where directories come from, and go to, besides a process's own walk."""

    @property
    def processes(self) -> int:
        """How many take part: into so many shares a large directory is divided."""

    def between(self, stack: Stack, *, spare: int, listed: int) -> None:
        """Called between windows and directories: take places from the stack, `spare` at most, or add some.

        `listed`: how many entries were listed so far.
        """

    def more(self, stack: Stack) -> bool:
        """Called when the stack is empty: wait for more. Returns whether there is any."""


class Alone:
    """Nobody to share with."""

    processes: Final = 1

    def between(self, stack: Stack, *, spare: int, listed: int) -> None:
        """Nothing to give."""

    def more(self, stack: Stack) -> bool:
        """Nothing to come."""
        return bool(stack)


def _regular(window: list[Entry]) -> list[Entry]:
    """The regular files."""
    if any(map(_is_symlink, window)):
        return [entry for entry in window if entry.is_file(follow_symlinks=False)]
    # Without a link in it there is nothing to follow, and this is several times faster.
    return list(filter(_is_file, window))


class Walk:
    """A walk and what it counted. Iterate over it once."""

    def __init__(
        self,
        root: VolumeRoot,
        start: bytes | None,
        scope: Scope,
        stop: Stop,
        on_error: OnError,
        sharing: Sharing | None = None,
        select_directories: SelectDirectories | None = None,
    ) -> None:
        """`start`: None where all that there is to do comes from others.

        `select_directories` says which directories are items; without it none is. It goes with no `sharing`: what is
        in an item has another scope than its path says.
        """
        self._select_directories = select_directories
        self._root = root
        self._start = start
        self._scope = scope
        self._stop = stop
        self._on_error = on_error
        self._sharing = Alone() if sharing is None else sharing
        self._listed = 0
        self.directories = 0
        """Directories entered."""
        self.mounts = 0
        """Mounts that were not entered."""
        self.passed_by = 0
        """Directories into which no rule looks: for all that the walk knows, files are in them."""
        self.others = 0
        """Symbolic links, sockets, devices …: seen, and no items."""
        self.protected: Counter[Protection] = Counter()
        """Directories left alone with all that is below them."""

    def __iter__(self) -> Iterator[Window]:
        stack: Stack = []
        if self._start is not None:
            scope = self._scope_of(self._start)
            self.passed_by += scope is None
            if scope is not None and self._start_is_free(self._start):
                stack.append(Place(self._start, scope))
        while self._stop.reason is None and (stack or self._sharing.more(stack)):
            self._sharing.between(stack, spare=len(stack) - 1, listed=self._listed)
            if not stack:
                continue
            place = stack.pop()
            path, scope = place.path, place.scope or self._scope.again(place.rules)
            if scope is None:
                continue
            try:
                with self._root.directory(path, for_reading=True, on_walk=True) as fd:
                    if (protection := self._protection(place, fd)) is not None:
                        self.protected[protection] += not place.share
                        continue
                    self.directories += not place.share
                    yield from self._windows(place._replace(scope=scope), fd, scope, stack)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    self.mounts += 1
                elif path == self._start or error.errno != errno.ENOENT:
                    self._on_error(path, error)

    def _scope_of(self, path: bytes) -> Scope | None:
        scope: Scope | None = self._scope
        for component in path.split(b"/") if path else ():
            if scope is None:
                break
            scope = scope.below(os.fsdecode(component))
        return scope

    def _start_is_free(self, start: bytes) -> bool:
        """Whether no directory above the start protects it. What cannot be told there comes up again at the start."""
        path = b""
        for component in start.split(b"/") if start else ():
            protection: Protection | None = None
            if os.fsdecode(component) in RESERVED_DIRECTORIES:
                protection = Protection.RESERVED
            else:
                try:
                    with self._root.directory(path, for_reading=False) as fd:
                        protection = marker_of(fd)
                    # A directory that only lets pass cannot be locked, so there is nothing to find out.
                    with contextlib.suppress(PermissionError), self._root.directory(path, for_reading=True) as fd:
                        protection = self._protection(Place(path, None), fd)
                except OSError as error:
                    self._on_error(path, error)
                    return False
            if protection is not None:
                self.protected[protection] += 1
                return False
            path = path + b"/" + component if path else component
        return True

    def _protection(self, place: Place, fd: int) -> Protection | None:
        # The root carries a lock of our own, and whoever has the first share has looked for others.
        if place.share or not place.path:
            return marker_of(fd)
        return protection_of_directory(fd, exclusive=self._root.exclusive)

    def _windows(self, place: Place, fd: int, scope: Scope, stack: Stack) -> Iterator[Window]:
        with os.scandir(fd) as entries:
            while window := list(islice(entries, WINDOW)):
                self._listed += len(window)
                if place.shares < self._sharing.processes and len(window) == WINDOW:
                    # More than one window, and others to help. They list it too, which costs little beside the rest.
                    place = place._replace(shares=self._sharing.processes)
                    stack[:0] = [place._replace(share=share) for share in range(1, place.shares)]
                    self._sharing.between(stack, spare=len(stack), listed=self._listed)
                files = _regular(window)
                items: list[DirectoryItem] = []
                if len(files) != len(window) and not place.share:
                    if scope.takes_directories:
                        items = self._items(place.path, scope, window)
                    self._look_at_others(place.path, scope, window, stack, items)
                if place.shares > 1:
                    # Names of one file stay together, and so do neighbours in a table of inodes.
                    files = [entry for entry in files if (entry.inode() >> 6) % place.shares == place.share]
                yield Window(place.path, fd, files, scope, items)
                if self._stop.reason is not None:
                    return
                self._sharing.between(stack, spare=len(stack), listed=self._listed)

    def _items(self, path: bytes, scope: Scope, window: list[Entry]) -> list[DirectoryItem]:
        """The sub-directories that are items."""
        if self._select_directories is None:
            return []
        names = [
            entry.name
            for entry in window
            if entry.is_dir(follow_symlinks=False)
            and entry.name not in RESERVED_DIRECTORIES
            and (path or entry.name != _OWN_NAME)
        ]
        return self._select_directories(path, scope, names)

    def _look_at_others(
        self,
        path: bytes,
        scope: Scope,
        window: list[Entry],
        stack: Stack,
        items: Sequence[DirectoryItem],
    ) -> None:
        """Put sub-directories on the stack, and count what is neither directory nor file."""
        earlier = {item.name: item.inside.earlier for item in items}
        for entry in window:
            if entry.is_dir(follow_symlinks=False):
                name = entry.name
                if not path and name == _OWN_NAME:
                    continue
                if (below := earlier[name] if name in earlier else scope.below(name)) is not None:
                    if name in RESERVED_DIRECTORIES:
                        self.protected[Protection.RESERVED] += 1
                    else:
                        stack.append(Place(join(path, os.fsencode(name)), below))
                elif name not in earlier and name not in RESERVED_DIRECTORIES:
                    self.passed_by += 1
            elif not entry.is_file(follow_symlinks=False):
                self.others += 1
