"""Birth times of many files in order of their paths, with one directory open at a time."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.syscalls import birth_time


class BirthTimes:
    """Asks the kernel. Use it in a `with` statement."""

    def __init__(self, root: VolumeRoot) -> None:
        self._root = root
        self._directory: bytes | None = None
        self._fd = -1
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def of(self, path: bytes) -> int | None:
        """When the file `path` was made, ns; None where nobody can tell."""
        directory, _, name = path.rpartition(b"/")
        if directory != self._directory:
            self._enter(directory)
        if self._fd < 0:
            return None
        try:
            return birth_time(self._fd, name)
        except OSError:
            return None

    def _enter(self, directory: bytes) -> None:
        self._open.close()
        self._directory, self._fd = directory, -1
        with contextlib.suppress(OSError):
            self._fd = self._open.enter_context(self._root.directory(directory, for_reading=False))
