"""Which files the rules take: globs walked along with the directories, names of one directory looked through at once.

Each glob is a list of components. A directory's `Scope` holds which components of which globs are still to be met
below it, so that in each directory only a pattern for bare names is left, and a directory that nothing can match in is
not entered at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

import re2

from housekeeper_api.globs import Component, Glob, GlobError, parse
from housekeeper_api.task import Rule, TaskError
from housekeeper_worker.volume.names import matching_form

_Positions = frozenset[tuple[int, int]]
"""Components that may come next: (number of the glob, number of the component)."""
_NOTHING: Final[_Positions] = frozenset()
RulesLeft = tuple[tuple[_Positions, _Positions], ...]
"""What is left of each rule: include and exclude."""

Narrow = Callable[[int, bytearray], bytearray]
"""From the number of a rule, and a mark for each file that may be its, to those of the files that are."""


class Inside(NamedTuple):
    """A directory that is an item of some rule, as the rules see it."""

    earlier: Scope | None
    """What File rules before that rule can still take below it."""
    foreign: Scope | None
    """For `Scope.foreign`: what is not the rule's own."""
    all_excluded: bool
    """Whether the rule excludes everything below it."""


class Scope:
    """One directory, or many alike, as the rules see it: what they can still match below."""

    __slots__ = (
        "_excludes",
        "_following",
        "_insides",
        "_selector",
        "_steps",
        "directory_names",
        "names",
        "only_owner",
        "rules",
        "takes_directories",
    )

    def __init__(self, selector: Selector, rules: RulesLeft) -> None:
        self._selector = selector
        self.rules = rules
        self.names = selector.name_filters(rules, directories=False)
        self.only_owner = _only_owner(self.names)
        """Number of the rule (from 0) that takes every file in the directory, whatever its name; None: none does."""
        self.directory_names = selector.name_filters(rules, directories=True)
        self.takes_directories = any(not include.never for include, _ in self.directory_names)
        """Whether a sub-directory may be an item."""
        self._steps = selector.steps(rules)
        self._excludes = [
            (number, excluded)
            for number, (include, exclude) in enumerate(rules)
            if include and not (excluded := selector.filter(exclude)).never
        ]
        """What excludes a sub-directory from a rule, with everything in it: one look for all globs of the rule."""
        self._following: dict[tuple[bool, ...], Scope | None] = {}
        self._insides: dict[tuple[int, tuple[bool, ...]], Inside] = {}

    def below(self, name: str) -> Scope | None:
        """The scope of the sub-directory `name`; None if nothing in it can be selected."""
        key = self._met(name)
        if key not in self._following:
            self._following[key] = self._selector.scope(self._advanced(key))
        return self._following[key]

    def takes_everything(self, number: int) -> bool:
        """Whether the rule `number` (from 0) includes everything below, whatever it excludes."""
        return self._selector.takes_all(self.rules[number][0])

    def _met(self, name: str) -> tuple[bool, ...]:
        """Which components the name of a sub-directory meets, and then which rules exclude it."""
        if not self._steps and not self._excludes:
            return ()
        form = matching_form(name)
        met = [self._selector.matches(component, form) for component in self._steps]
        return (*met, *(excluded.takes(name, form) for _, excluded in self._excludes))

    def _advanced(self, key: tuple[bool, ...]) -> RulesLeft:
        met, advance = frozenset(compress(self._steps, key)), self._selector.advance
        marks = key[len(self._steps) :]
        out = {number for (number, _), is_excluded in zip(self._excludes, marks, strict=True) if is_excluded}
        return tuple(
            (_NOTHING, _NOTHING) if number in out else (advance(include, met), advance(exclude, met))
            for number, (include, exclude) in enumerate(self.rules)
        )

    def again(self, rules: RulesLeft) -> Scope | None:
        """The scope, of the same policy, that has these `rules`: what another process says instead of it."""
        return self._selector.scope(rules)

    def inside(self, name: str, number: int) -> Inside:
        """The sub-directory `name`, which is an item of the rule `number` (from 0)."""
        key = number, self._met(name)
        if key not in self._insides:
            self._insides[key] = self._selector.inside(self._advanced(key[1]), number)
        return self._insides[key]

    def foreign(
        self, files: Sequence[str], others: Sequence[str], directories: Sequence[str], narrow: Narrow | None
    ) -> str | None:
        """The first of these names in an item that its rule excludes, or that belongs to an earlier rule, or None.

        `others` are neither regular files nor directories: no rule is about them, and yet they can be excluded.
        """
        for names, owners in (
            *((names, self.directory_owners(names)) for names in (files, others, directories)),
            (files, self.owners(files, narrow)),
        ):
            for name, owner in zip(names, owners, strict=True):
                if owner:
                    return name
        return None

    def owners(self, names: Sequence[str], narrow: Narrow | None = None) -> bytes | bytearray:
        """For each of `names`, the files of one directory: 0 if no rule takes it, else the rule's number plus one.

        The first rule that includes a file and does not exclude it has it. `narrow` is asked with the number of each
        rule (from 0) and a mark for each file that it may still have, and takes back marks.
        """
        return self._owners(self.names, names, narrow)

    def directory_owners(self, names: Sequence[str], narrow: Narrow | None = None) -> bytes | bytearray:
        """The same for sub-directories, which rules take whose items are directories."""
        return self._owners(self.directory_names, names, narrow)

    def item_owners(self, names: Sequence[str], narrow: Narrow | None = None) -> bytes | bytearray:
        """The same for names that may be files or directories, whichever the first rule that takes them is about."""
        both = [
            file if directory[0].never else directory
            for file, directory in zip(self.names, self.directory_names, strict=True)
        ]
        return self._owners(both, names, narrow)

    @staticmethod
    def _owners(filters: _Filters, names: Sequence[str], narrow: Narrow | None) -> bytes | bytearray:
        owners: bytes | bytearray | None = None
        for number, (include, exclude) in enumerate(filters, start=1):
            if include.never:
                continue
            taken = include.marks(names)
            if not exclude.never:
                taken = bytearray(a & ~b & 1 for a, b in zip(taken, exclude.marks(names), strict=True))
            if narrow is not None:
                if owners is not None:
                    taken = bytearray(mark and not owner for mark, owner in zip(taken, owners, strict=True))
                taken = narrow(number - 1, bytearray(taken))
            if owners is None:
                owners = taken if number == 1 else taken.replace(b"\x01", bytes([number]))
            else:
                owners = bytes(owner or (number if mark else 0) for owner, mark in zip(owners, taken, strict=True))
        return bytes(len(names)) if owners is None else owners


class NameFilter:
    """Names of files that match any of some components."""

    __slots__ = ("_expression", "_one", "_runs", "_suffixes", "always", "never")

    def __init__(self, components: frozenset[Component]) -> None:
        self.never = not components
        self.always = any(component.is_any_name for component in components)
        # `*.dump` and its like are most of what people write, and comparing an end is 20 times cheaper than a hit.
        self._suffixes = tuple(sorted(component.suffix for component in components if component.suffix))
        expressions = sorted(component.expression for component in components if not component.suffix)
        self._runs: Any = None
        self._expression = "|".join(expressions) if not self.always else ""
        self._one: Any = None
        if expressions and not self.always:
            # A run of names that match is one hit, since a hit costs more than a thousand characters looked at.
            self._runs = _compile(f"/(?:(?:{'|'.join(expressions)})/)+")

    def takes(self, name: str, form: bytes) -> bool:
        """Whether one name, and in its matching form, matches."""
        if self.always or (self._suffixes and name.endswith(self._suffixes)):
            return True
        if self._one is None and self._expression:
            self._one = _compile(self._expression)  # seldom wanted: for files all names are looked at together
        return self._one is not None and self._one.fullmatch(form) is not None

    def marks(self, names: Sequence[str]) -> bytearray:
        """For each of `names`: 1 if it matches, else 0."""
        if self.always:
            return bytearray(b"\x01" * len(names))
        marks = bytearray(len(names))
        if self._suffixes:
            suffixes = self._suffixes
            marks = bytearray([name.endswith(suffixes) for name in names])
        if self._runs is not None:
            self._mark_runs(matching_form(f"/{'/'.join(names)}/"), marks)
        return marks

    def _mark_runs(self, text: bytes, marks: bytearray) -> None:
        """Mark the names that match in `text`, which is `/NAME/NAME/…/`: a slash is the one character no name has."""
        index = seen = 0
        for run in self._runs.finditer(text):
            start, end = run.span()
            index += text.count(b"/", seen, start)
            following = index + text.count(b"/", start, end) - 1
            marks[index:following] = b"\x01" * (following - index)
            index, seen = following, end - 1


_Filters = list[tuple[NameFilter, NameFilter]]
"""For each rule, what it includes and what it excludes of the names of one directory."""


def _only_owner(filters: _Filters) -> int | None:
    for number, (include, exclude) in enumerate(filters):
        if not include.never:
            return number if include.always and exclude.never else None
    return None


class Selector:
    """All rules of a policy, compiled. Raises `TaskError`, which names the glob."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._of_directories = [rule.item_type == "Directory" for rule in rules]
        self._globs: list[Glob] = []
        self._filters: dict[frozenset[Component], NameFilter] = {}
        self._components: dict[Component, Any] = {}
        self._scopes: dict[RulesLeft, Scope | None] = {}
        start = tuple(
            (
                self._read(rule.include, f"rules[{number}].select.include"),
                self._read(rule.exclude, f"rules[{number}].select.exclude"),
            )
            for number, rule in enumerate(rules)
        )
        self.root = self.scope(start)
        """Scope of the volume's root; None if the rules exclude everything."""

    def _read(self, texts: Sequence[str], where: str) -> _Positions:
        first: set[tuple[int, int]] = set()
        for number, text in enumerate(texts):
            try:
                for glob in parse(text):
                    self._globs.append(glob)
                    first.add((len(self._globs) - 1, 0))
                    for component in glob:
                        if not component.is_any_name and component not in self._components:
                            self._components[component] = _compile(component.expression)
            except GlobError as error:
                raise TaskError(f"spec.{where}[{number}]: {text!r} {error}") from None
        return self._closure(first)

    def _closure(self, positions: set[tuple[int, int]]) -> _Positions:
        """With each `**` also what follows it, for it may stand for no directory at all."""
        closed = set(positions)
        for glob, position in positions:
            components = self._globs[glob]
            while components[position].is_any_depth and position + 1 < len(components):
                position += 1  # noqa: PLW2901 - walking along one glob is what the loop is for
                closed.add((glob, position))
        return frozenset(closed)

    def scope(self, rules: RulesLeft) -> Scope | None:
        """The scope in which `rules` (include, exclude) are what is left of each rule."""
        live = tuple(
            (_NOTHING, _NOTHING) if self.takes_all(exclude) or not include else (include, exclude)
            for include, exclude in rules
        )
        if live not in self._scopes:
            self._scopes[live] = Scope(self, live) if any(include for include, _ in live) else None
        return self._scopes[live]

    def takes_all(self, positions: _Positions) -> bool:
        """Whether one of them stands for everything below."""
        return any(
            self._globs[glob][position].is_any_depth and position + 1 == len(self._globs[glob])
            for glob, position in positions
        )

    def inside(self, rules: RulesLeft, number: int) -> Inside:
        """An item of the rule `number`, below which `rules` are what is left of each rule."""
        earlier = [
            pair if other < number and not self._of_directories[other] else (_NOTHING, _NOTHING)
            for other, pair in enumerate(rules)
        ]
        excluded = rules[number][1]
        foreign = [*earlier]
        foreign[number] = excluded, _NOTHING
        return Inside(self.scope(tuple(earlier)), self.scope(tuple(foreign)), self.takes_all(excluded))

    def name_filters(self, rules: RulesLeft, *, directories: bool) -> list[tuple[NameFilter, NameFilter]]:
        """Filters for the names in a directory itself: for its files, or for its sub-directories."""
        return [
            (self.filter(include), self.filter(exclude))
            if self._of_directories[number] is directories
            else (self.filter(_NOTHING), self.filter(_NOTHING))
            for number, (include, exclude) in enumerate(rules)
        ]

    def filter(self, positions: _Positions) -> NameFilter:
        """Names that are all that is left of some of the globs."""
        last = frozenset(
            self._globs[glob][position] for glob, position in positions if position + 1 == len(self._globs[glob])
        )
        if last not in self._filters:
            self._filters[last] = NameFilter(last)
        return self._filters[last]

    def steps(self, rules: RulesLeft) -> tuple[Component, ...]:
        """Components that the name of a sub-directory must be held against to know its scope."""
        wanted = {
            self._globs[glob][position]: None
            for pair in rules
            for positions in pair
            for glob, position in sorted(positions)
            if position + 1 < len(self._globs[glob])
        }
        return tuple(component for component in wanted if not component.is_any_name)

    def matches(self, component: Component, form: bytes) -> bool:
        """Whether one name, in its matching form, is what `component` says."""
        return self._components[component].fullmatch(form) is not None

    def advance(self, positions: _Positions, met: frozenset[Component]) -> _Positions:
        """What may come next below a directory whose name meets the components `met`."""
        following: set[tuple[int, int]] = set()
        for glob, position in positions:
            component = self._globs[glob][position]
            if component.is_any_depth:
                following.add((glob, position))
            elif position + 1 < len(self._globs[glob]) and (component.is_any_name or component in met):
                following.add((glob, position + 1))
        return self._closure(following)


def _compile(expression: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(f"(?s:{expression})".encode(), options)
    except re2.error as error:
        raise TaskError(f"spec.rules: the globs together are too large for one expression: {error}") from error
