"""What is still being written, as names say: `NAME.part` and its like, and the NAME that has such a sibling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SUFFIXES: Final = (".part", ".tmp", ".partial", ".lock")
"""Ends of names by which programs mark what is not complete."""


def has_mark(name: str) -> bool:
    """Whether a name itself says that it is not complete."""
    return name.endswith(SUFFIXES)


def marked(names: Iterable[str]) -> frozenset[str]:
    """Of all names of a directory, those that say that something is not complete."""
    return frozenset(name for name in names if name.endswith(SUFFIXES))


def is_incomplete(name: str, marks: frozenset[str]) -> bool:
    """Whether `name` is not complete: it, or a sibling with one of the suffixes, is among `marks`."""
    return bool(marks) and (name in marks or any(name + suffix in marks for suffix in SUFFIXES))
