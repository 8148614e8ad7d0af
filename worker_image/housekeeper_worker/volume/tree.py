"""All directories below an open one, through descriptors: however deep, with one stack, and never over a mount."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from housekeeper_worker.volume.root import VolumeRoot

State = TypeVar("State")

_WINDOW: Final = 5_000
"""Entries that are in memory at once."""


class Unreachable(Exception):
    """A directory could not be opened or listed. `path` is relative to where the walk began."""

    def __init__(self, path: bytes, error: OSError) -> None:
        self.path = path
        self.error = error
        super().__init__(path, error)


class Part(NamedTuple, Generic[State]):
    """Some entries of one directory, as long as its descriptor is open: until the next part is asked for."""

    path: bytes
    """Relative to where the walk began; empty there."""
    fd: int
    first: bool
    """Whether it is the first part of its directory. An empty directory has one part."""
    entries: list[os.DirEntry[str]]
    """Everything but `.` and `..`, sub-directories too."""
    state: State


def parts(root: VolumeRoot, top: int, state: State, descend: Callable[[State, str], State]) -> Iterator[Part[State]]:
    """Every directory below the open directory `top`, which comes first.

    `descend` gives the state of a sub-directory from its parent's and its name. What is gone when its turn comes is
    left out. Raises `Unreachable`, with EXDEV at a mount.
    """
    stack = [(b"", state)]
    above_path, above = b"", -1
    try:
        while stack:
            path, state = stack.pop()
            try:
                # The next directory is mostly below the last one: a walk into the depth then costs one step a level.
                near = above >= 0 and path.startswith(above_path + b"/" if above_path else b"")
                start, rest = (above, path[len(above_path) :].lstrip(b"/")) if near else (top, path)
                fd = root.open_below(start, rest or b".")
            except OSError as error:
                if path and error.errno == errno.ENOENT:
                    continue
                raise Unreachable(path, error) from error
            if above >= 0:
                os.close(above)
            above_path, above = path, fd
            prefix = path + b"/" if path else b""
            try:
                first = True
                with os.scandir(fd) as entries:
                    while (window := list(islice(entries, _WINDOW))) or first:
                        yield Part(path, fd, first, window, state)
                        first = False
                        stack.extend(
                            (prefix + os.fsencode(entry.name), descend(state, entry.name))
                            for entry in window
                            if entry.is_dir(follow_symlinks=False)
                        )
            except OSError as error:
                raise Unreachable(path, error) from error
    finally:
        if above >= 0:
            os.close(above)
