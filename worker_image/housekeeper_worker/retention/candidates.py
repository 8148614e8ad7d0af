"""Items that must all be known before anything about one of them is decided: those of a rule that keeps by group."""

from __future__ import annotations

import datetime as dt
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from operator import not_
from typing import Final, NamedTuple

from housekeeper_api.task import Rule
from housekeeper_worker.retention import name_times
from housekeeper_worker.retention.decide import Decided, Lines, Verdict, is_settled, reason
from housekeeper_worker.retention.files import Files
from housekeeper_worker.retention.groups import Grouping, words
from housekeeper_worker.retention.keep import CAPPED, Kept, keeping, removal_reasons
from housekeeper_worker.retention.order import oldest_first
from housekeeper_worker.retention.paths import in_path_order, indices_by_name
from housekeeper_worker.retention.plan import Cause, Plan
from housekeeper_worker.retention.records import Records

_UNKEPT: Final = frozenset({0, CAPPED})


class Group(NamedTuple):
    """One group, decided. A place is an index into `order`, the oldest at 0."""

    number: int
    order: array[int]
    """Indices of its items, the oldest first."""
    times: array[int]
    kept: Kept | None
    """None: its age alone decides."""
    old: int
    """Places before this one are old."""


class Candidates:
    """All items of one rule. Raises `TaskError`, which names the field."""

    def __init__(self, number: int, rule: Rule, lines: Lines, tz: dt.tzinfo, settle: str) -> None:
        self.number = number
        self._rule = rule
        self._lines = lines
        self._tz = tz
        self._settle = settle
        self.grouping = Grouping(rule, f"rules[{number}]")
        self._read_time = name_times.reader(rule.time.format, tz) if rule.time.source == "Name" else None
        self._has_own_time = rule.time.source != "ModificationTime"
        self.files = Files()
        self._time = array("q")
        """Times, where they are not the modification times."""
        self._verdict = array("B")
        self._members: list[array[int]] = []
        """For each group the indices of its items."""
        self.emptied: set[str] = set()
        """Groups with a `keep` of which nothing that counts would be left, in words."""

    def time(self, path: str, modified: int) -> int | None:
        """The time of an item in nanoseconds, which its path may say; None: it should, and does not."""
        return modified if self._read_time is None else self._read_time(path)

    @property
    def reads_names(self) -> bool:
        """Whether `time` looks at the path."""
        return self._read_time is not None

    def verdict(self, time: int | None, modified: int, changed: int, clock: int) -> Verdict:
        """What an item is before anybody knows the others: `REMOVE`, or what protects it.

        `FUTURE` and `UNPARSABLE` items do not count, and are not to be added.
        """
        if time is None:
            return Verdict.UNPARSABLE
        if time > clock:
            return Verdict.FUTURE
        if not is_settled(modified, self._lines):
            return Verdict.SETTLING
        return Verdict.REMOVE if is_settled(changed, self._lines) else Verdict.SETTLING_BY_CHANGE_TIME

    def reason(self, verdict: Verdict) -> str:
        """Why an item stays that does not count."""
        if verdict is Verdict.UNPARSABLE and self._read_time is None:
            return "the time when it was made is not known"
        return reason(verdict, "", self._settle)

    def add(
        self,
        directory: bytes,
        records: Records,
        *,
        times: Sequence[int],
        verdicts: Iterable[Verdict],
        groups: Sequence[int] | None,
    ) -> None:
        """Take in items of one directory that count: their times, and what becomes of each if nothing keeps it.

        That is `REMOVE`, or what protects it. Without `groups` all are in the first.
        """
        first = len(self.files)
        self.files.extend(directory, records)
        self._verdict.extend(verdicts)
        if self._has_own_time:
            self._time.extend(times)
        if groups is None:
            self._make_room(0)
            self._members[0].extend(range(first, len(self.files)))
            return
        for index, group in enumerate(groups, first):
            self._make_room(group)
            self._members[group].append(index)

    def imagine(self, path: bytes, size: int, group: int, modified: int, time: int, verdict: Verdict) -> None:
        """Take in an item that is no file."""
        directory, _, name = path.rpartition(b"/")
        self._make_room(group)
        self._members[group].append(len(self.files))
        self.files.append(directory, name, size, modified)
        self._verdict.append(verdict)
        if self._has_own_time:
            self._time.append(time)

    def _make_room(self, group: int) -> None:
        while len(self._members) <= group:
            self._members.append(array("I"))

    def groups(self) -> Iterator[Group]:
        """Each group with what is kept of it."""
        times = self._time if self._has_own_time else self.files.modified
        ranks = cache(self._ranks)
        for number, members in enumerate(self._members):
            order, column = oldest_first(times, members, ranks)
            keep = self.grouping.keep(number)
            kept = None if keep is None else keeping(column, self._sizes(order), keep, self._tz)
            yield Group(number, order, column, kept, bisect_left(column, self._lines.old_before))

    def _ranks(self) -> Sequence[int]:
        ranks = array("I", bytes(4 * len(self.files)))
        for rank, (_, index) in enumerate(in_path_order(indices_by_name(self.files.chunks))):
            ranks[index] = rank
        return ranks

    def _sizes(self, order: array[int]) -> Callable[[int], int]:
        """Allocated bytes of an item; those of a file that has another name in the group count once."""
        files = self.files
        seen: set[tuple[int, int]] = set()

        def size(place: int) -> int:
            index = order[place]
            if files.links[index] > 1:
                inode = files.device[index], files.inode[index]
                if inode in seen:
                    return 0
                seen.add(inode)
            return files.allocated[index]

        return size

    def judge(self, group: Group, place: int, *, all_listed: bool) -> Verdict:
        """What becomes of one item. `all_listed`: nothing that may belong to the group could not be read."""
        if group.kept is not None and group.kept.keeps(place):
            return Verdict.KEPT
        if place >= group.old:
            return Verdict.YOUNG
        verdict = self._verdict[group.order[place]]
        if verdict != Verdict.REMOVE:
            return Verdict(verdict)
        if not all_listed and group.kept is not None and group.kept.keep.max_total_size is not None:
            return Verdict.UNLISTED
        return Verdict.REMOVE

    def reasons(self, group: Group, place: int, verdict: Verdict) -> tuple[str, ...]:
        """Why; at least one."""
        older, kept = self._rule.remove_older_than, group.kept
        reasons = [] if kept is None else kept.reasons(place)
        if verdict in {Verdict.KEPT, Verdict.YOUNG} and place >= group.old and older is not None:
            reasons.append(reason(Verdict.YOUNG, older, self._settle))
        if verdict is Verdict.REMOVE:
            if older is not None:
                reasons.append(reason(verdict, older, self._settle))
            if kept is not None:
                reasons += removal_reasons(kept.keep, capped=kept.masks[place] == CAPPED)
        elif verdict not in {Verdict.KEPT, Verdict.YOUNG}:
            reasons.append(reason(verdict, older or "", self._settle))
        return tuple(reasons)

    def going(self, group: Group, *, all_listed: bool) -> bytes:
        """Marks of the places that go, of as many as are old. Takes note if nothing that counts would be left.

        What stays and does not count, such as half a backup, takes the place of nothing that goes.
        """
        kept, order, verdicts = group.kept, group.order, self._verdict
        if not all_listed and kept is not None and kept.keep.max_total_size is not None:
            return b""
        # Columns at once, for a group may be all that there is.
        marks = b"\x01" * group.old
        if kept is not None:
            masks = kept.masks[: group.old]
            marks = bytes(map(_UNKEPT.__contains__, masks) if CAPPED in masks else map(not_, masks))
        if any(verdicts):
            marks = bytes(mark and not verdicts[index] for mark, index in zip(marks, order, strict=False))
        if 0 < len(order) == marks.count(1) and kept is not None:
            self.emptied.add(words(self.grouping.values(group.number)))
        return marks

    def decided(self, group: Group, place: int, path: bytes, *, all_listed: bool) -> Decided:
        """One decision with its reasons."""
        verdict = self.judge(group, place, all_listed=all_listed)
        index = group.order[place]
        return Decided(
            path,
            self.number,
            verdict,
            self.reasons(group, place, verdict),
            self.grouping.values(group.number),
            self.files.size[index],
            self.files.allocated[index],
            group.times[place],
        )

    def move_to(self, plan: Plan, causes: array[int]) -> None:
        """Hand over what goes, which has a cause; nothing else is kept of the items."""
        plan.take(self.files, causes, self._time if self._has_own_time else self.files.modified)
        self.files.clear()
        self._verdict = array("B")
        self._time = array("q")


def cause_of(candidates: Candidates, group: Group, place: int) -> Cause:
    """Why a place goes."""
    reasons = candidates.reasons(group, place, Verdict.REMOVE)
    return Cause(candidates.number, reasons, candidates.grouping.values(group.number))
