"""One path against globs, by the selector that a run uses: walked down directory by directory."""

from __future__ import annotations

from collections.abc import Sequence

from housekeeper_api.task import Rule
from housekeeper_worker.retention.select import Selector


def owner(rules: Sequence[Rule], path: str) -> int:
    """Number of the rule that takes `path`, from 1; 0 if none does."""
    *directories, name = path.split("/")
    scope = Selector(rules).root
    for directory in directories:
        if scope is None:
            return 0
        scope = scope.below(directory)
    return 0 if scope is None else scope.owners([name])[0]


def selects(include: Sequence[str], exclude: Sequence[str], path: str) -> bool:
    """Whether one rule with these globs takes `path`."""
    return owner([Rule("rule", tuple(include), tuple(exclude), "1d")], path) == 1
