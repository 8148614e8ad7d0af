"""Groups: which items `keep` counts together, told by what an expression captures in their paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from housekeeper_api import expressions
from housekeeper_api.task import Keep, Rule, TaskError
from housekeeper_worker.retention.select import Narrow
from housekeeper_worker.volume.names import matching_form

Values = tuple[str, ...]
"""What the named captures of an expression captured, in the order of their names in it. Bytes that are no UTF-8 are
as `housekeeper_worker.volume.names.matching_form` has them; a capture that took no part is empty."""


class Grouping:
    """The groups of one rule, numbered as they come. Raises `TaskError`, which names the field."""

    def __init__(self, rule: Rule, where: str) -> None:
        self._rule = rule
        self._expression: Any = None
        self.names: tuple[str, ...] = ()
        """Names of the captures."""
        self._numbers: dict[Values, int] = {}
        self._values: list[Values] = []
        if rule.group_by is None:
            self.number(())
            return
        try:
            self._expression, captures = expressions.compiled(rule.group_by)
        except ValueError as error:
            raise TaskError(f"spec.{where}.groupBy: {error}") from None
        self.names = tuple(captures)
        self._captures = tuple(captures.values())

    def __len__(self) -> int:
        return len(self._values)

    @property
    def selects(self) -> bool:
        """Whether there is an expression, so that what it does not match is not selected."""
        return self._expression is not None

    def find(self, form: bytes) -> int | None:
        """Number of the group of a path (in its matching form); None if the expression does not match all of it."""
        if self._expression is None:
            return 0
        match = self._expression.fullmatch(form)
        if match is None:
            return None
        values = match.groups()
        return self.number(tuple(_text(values[index - 1]) for index in self._captures))

    def number(self, values: Values) -> int:
        """Number of the group with these values."""
        number = self._numbers.get(values)
        if number is None:
            number = self._numbers[values] = len(self._values)
            self._values.append(values)
        return number

    def values(self, number: int) -> dict[str, str]:
        """What the captures of a group are; empty where the whole rule is one group."""
        return dict(zip(self.names, self._values[number], strict=True))

    def keep(self, number: int) -> Keep | None:
        """What is kept of a group; None if its age alone decides."""
        values = self.values(number)
        for one in self._rule.keep_per_group:
            if all(values.get(name) == value for name, value in one.match.items()):
                return one.keep
        return self._rule.keep


def narrowing(
    groupings: Mapping[int, Grouping], directory: bytes, names: Sequence[str], found: dict[int, dict[str, int]]
) -> Narrow:
    """How rules with an expression give back files of `directory` that theirs does not match.

    `groupings` are those of such rules, by number. The groups of what they keep are noted in `found`: for the number of
    the rule, the group of each name.
    """
    prefix = matching_form(os.fsdecode(directory + b"/" if directory else b""))

    def narrow(number: int, marks: bytearray) -> bytearray:
        grouping = groupings.get(number)
        if grouping is None:
            return marks
        groups = found[number] = {}
        for place, name in enumerate(names):
            if marks[place]:
                group = grouping.find(prefix + matching_form(name))
                if group is None:
                    marks[place] = 0
                else:
                    groups[name] = group
        return marks

    return narrow


def words(values: Mapping[str, str]) -> str:
    """A group for a person: `env=prod, host=a`; empty where the whole rule is one group."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _text(captured: bytes | None) -> str:
    """A capture as text. One that ends within a character shows that."""
    return (captured or b"").decode("utf-8", "backslashreplace")
