"""Which paths globs take, one path at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence

from housekeeper_api import globs
from housekeeper_api.task import Rule, TaskError
from housekeeper_worker.retention.select import Scope, Selector


class Wanted:
    """The paths that any of some globs takes; all, if there is none."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises `TaskError`, which names the glob."""
        for text in texts:
            try:
                globs.parse(text)
            except globs.GlobError as error:
                raise TaskError(f"restore: the path {text!r} {error}") from None
        self._top = Selector([Rule("restore", tuple(texts), ())]).root if texts else None
        self._all = not texts
        self._directory = b""
        self._scope: Scope | None = self._top

    def takes(self, path: bytes) -> bool:
        """Whether `path` is taken. Paths of one directory after the other are quickest."""
        if self._all:
            return True
        directory, _, name = path.rpartition(b"/")
        if directory != self._directory:
            self._directory, self._scope = directory, self._scope_of(directory)
        return self._scope is not None and bool(self._scope.owners([os.fsdecode(name)])[0])

    def takes_all_in(self, path: bytes) -> bool:
        """Whether everything in a directory is taken, by a glob such as `DIRECTORY/**`."""
        scope = self._scope_of(path)
        return self._all or (scope is not None and scope.takes_everything(0))

    def reaches(self, path: bytes) -> bool:
        """Whether something in a directory may be taken."""
        return self._all or self._scope_of(path) is not None

    def _scope_of(self, directory: bytes) -> Scope | None:
        scope = self._top
        for component in directory.split(b"/") if directory else ():
            if scope is None:
                return None
            scope = scope.below(os.fsdecode(component))
        return scope
