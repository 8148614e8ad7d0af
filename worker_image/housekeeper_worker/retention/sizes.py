"""Bounds on the size of items: what is outside of a rule's bounds is not its, as if no glob of the rule took it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from housekeeper_api.task import Rule
from housekeeper_worker.retention.select import Narrow


class Bounds(NamedTuple):
    """Bytes (st_size), both included."""

    least: int
    most: int

    def hold(self, size: int) -> bool:
        """Whether an item of `size` bytes is within."""
        return self.least <= size <= self.most


def size_bounds(rules: Sequence[Rule]) -> dict[int, Bounds]:
    """The bounds of the rules that have any, by number."""
    return {
        number: Bounds(rule.min_size or 0, 2**63 if rule.max_size is None else rule.max_size)
        for number, rule in enumerate(rules)
        if rule.min_size is not None or rule.max_size is not None
    }


def within(bounds: Mapping[int, Bounds], size: Callable[[int], int | None], before: Narrow | None) -> Narrow:
    """How rules with bounds give back what is outside of theirs.

    `size` gives the bytes of the item at a place. None: they cannot be had, and the rule keeps it, so that whoever
    looks next finds out why. `before` narrows first: what it gives back is not asked for.
    """

    def narrow(number: int, marks: bytearray) -> bytearray:
        if before is not None:
            marks = before(number, marks)
        bound = bounds.get(number)
        if bound is None:
            return marks
        for place, mark in enumerate(marks):
            if mark and (found := size(place)) is not None and not bound.hold(found):
                marks[place] = 0
        return marks

    return narrow
