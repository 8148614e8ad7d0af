"""Where a directory that is one item goes by one rename, and from where it comes back if it must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from housekeeper_worker.volume.acts import Act
from housekeeper_worker.volume.trash import Entry, Trash


class Way(Protocol):
    """A way out of sight for one directory, and back."""

    def take(self) -> None:
        """Rename it away. Raises OSError; then it is where it was."""

    def is_there(self) -> bool:
        """Whether what was taken is what was meant. Raises OSError."""

    def leave(self, *, moved: bool) -> bool:
        """Let it be where it was, from where it was `moved` maybe. Returns whether it is there: else it has gone."""


class IntoTrash:
    """The way of what is removed, which the journal of the trash tells of."""

    def __init__(self, trash: Trash, entry: Entry, directory: int, name: bytes, bring_back: Callable[[], None]) -> None:
        self._trash = trash
        self._entry = entry
        self._directory = directory
        self._name = name
        self._bring_back = bring_back

    def take(self) -> None:
        """As `Way`."""
        self._trash.take(self._directory, self._name, self._entry)

    def is_there(self) -> bool:
        """As `Way`."""
        return self._trash.is_there(self._entry)

    def leave(self, *, moved: bool) -> bool:
        """As `Way`. What cannot come back now comes back in the next run."""
        if moved:
            self._bring_back()
        else:
            self._trash.note(self._entry, "over")
        return True


class ByAct:
    """The way of what a rule does not remove, which is told of before, by whoever carries the act out."""

    def __init__(
        self, act: Act, at: int, path: tuple[bytes, bytes], inode: int, not_back: Callable[[OSError], None]
    ) -> None:
        """`path`: directory below the root, and name. `not_back` hears why it could not come back."""
        self._act = act
        self._at = at
        self._path = path
        self._inode = inode
        self._not_back = not_back

    def take(self) -> None:
        """As `Way`."""
        self._act.take_directory(self._at, *self._path, self._inode)

    def is_there(self) -> bool:
        """As `Way`: the act itself has seen to it."""
        return True

    def leave(self, *, moved: bool) -> bool:
        """As `Way`. What cannot come back has gone as its rule says, and is told of there."""
        if moved:
            try:
                self._act.bring_back(self._at, *self._path)
            except OSError as error:
                self._not_back(error)
                return False
        return True
