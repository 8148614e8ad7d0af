"""What finally happens to one name of a plan, once it is known to be what was planned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Going(NamedTuple):
    """A file that may go."""

    directory: bytes
    """Below the root."""
    name: bytes
    line: str
    """Members of a line about it, already JSON: rule, reason, identity."""


class Act(Protocol):
    """A way to let files go other than to unlink them."""

    @property
    def rules(self) -> frozenset[int]:
        """Numbers of the rules whose files go this way."""

    def prepare(self, files: Sequence[Going]) -> None:
        """Called with the files of a batch that go this way, before the first is taken. Those of one directory follow
        one another. Raises nothing: what is wrong is told by `take`."""

    def take(self, at: int, directory: bytes, name: bytes, stat: os.stat_result) -> None:
        """Let a file go. `at` is its open directory, `stat` of now. Raises OSError; then it is where it was."""

    def take_directory(self, at: int, directory: bytes, name: bytes, inode: int) -> None:
        """Let a directory go as a whole, if it is the one with this inode. Raises OSError; then it is where it was."""

    def bring_back(self, at: int, directory: bytes, name: bytes) -> None:
        """Let the directory that was taken last be where it was, if that is free. Raises OSError."""


class Unmovable(OSError):
    """The file cannot be moved to where its rule says, for a reason that is not the file's own. It stays."""
