"""What a directory says about which of its entries are still being written."""

from __future__ import annotations

import os

from housekeeper_worker.retention.incomplete import marked


class Marks:
    """Reads the names of a directory, of any kind, and remembers those of the last one that say so."""

    def __init__(self) -> None:
        self._directory: bytes | None = None
        self._marks: frozenset[str] = frozenset()

    def of(self, directory: bytes, fd: int) -> frozenset[str]:
        """Of the directory at the path `directory`, open as `fd`. Raises OSError.

        It is listed anew through a descriptor of its own: a sibling may be in another part of a long listing.
        """
        if self._directory != directory:
            own = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            try:
                with os.scandir(own) as entries:
                    self._marks = marked(entry.name for entry in entries)
            finally:
                os.close(own)
            self._directory = directory
        return self._marks
