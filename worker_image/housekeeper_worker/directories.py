"""Directories that are one item each: found along the walk, looked through, and decided like files."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from array import array
from collections.abc import Callable, Mapping, Sequence

from housekeeper_api.task import Rule
from housekeeper_worker.retention.candidates import Candidates
from housekeeper_worker.retention.decide import Decided, Lines, Verdict, decide, reason
from housekeeper_worker.retention.groups import Grouping, narrowing
from housekeeper_worker.retention.incomplete import is_incomplete
from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.records import Records
from housekeeper_worker.retention.select import Scope
from housekeeper_worker.retention.sizes import Bounds
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.contents import Contents, Look, Stays, Stopped, inspect
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.protected import Protection
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.scan import DirectoryItem, Window
from housekeeper_worker.volume.stats import Stats

_WORDS: Mapping[Protection, str] = {
    Protection.MARKED: "holds a .nocleanup",
    Protection.LOCKED: "another program has locked it",
    Protection.RESERVED: "is a file system's own",
    Protection.STICKY: "has the sticky bit",
    Protection.INCOMPLETE: "is incomplete",
    Protection.EXCLUDED: "is excluded, or an earlier rule's",
    Protection.MOUNT: "is a mount",
    Protection.UNREADABLE: "cannot be read",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What is known about the rules of a run, each by number from 0."""

    rules: Sequence[Rule]
    lines: Sequence[Lines]
    ages: Sequence[str]
    together: Mapping[int, Candidates]
    """Rules whose items are decided when all of them are known."""
    causes: Sequence[int]
    """Why items go that are decided by themselves."""
    settle: str
    sizes: Mapping[int, Bounds]
    """Bounds on the size, for the rules that say it."""


class Directories:
    """Surveys directory items, one at a time."""

    def __init__(
        self,
        root: VolumeRoot,
        rules: Rules,
        plan: Plan,
        tally: Tally,
        stop: Stop,
        now_ns: int,
        on_decision: Callable[[Decided], None] | None,
        on_error: Callable[[bytes, OSError], None],
    ) -> None:
        self._root = root
        self._rules = rules
        self._plan = plan
        self._tally = tally
        self._stop = stop
        self._now = now_ns
        self._on_decision = on_decision
        self._on_error = on_error
        self._stats = Stats(births=True)
        self._grouping = {number: one.grouping for number, one in rules.together.items() if one.grouping.selects}

    def select(self, path: bytes, scope: Scope, names: list[str]) -> list[DirectoryItem]:
        """Of the sub-directories of `path` those that are items, as `scan.SelectDirectories`."""
        groups: dict[int, dict[str, int]] = {}
        narrow = narrowing(self._grouping, path, names, groups) if self._grouping else None
        owners = scope.directory_owners(names, narrow)
        return [
            DirectoryItem(name, owner - 1, groups.get(owner - 1, {}).get(name, 0), scope.inside(name, owner - 1))
            for name, owner in zip(names, owners, strict=True)
            if owner
        ]

    def survey(self, window: Window, marks: Callable[[], frozenset[str]]) -> None:
        """Look through the items of a window and decide about them.

        `marks` gives the names of their directory that say that something is incomplete.
        """
        going: dict[int, Records] = {}
        for item in window.items:
            if self._stop.reason is not None:
                return
            if (record := self._survey_one(window, item, marks)) is not None:
                going.setdefault(item.rule, Records()).add(record)
        for number, found in going.items():
            found.cause = array("I", [self._rules.causes[number]]) * len(found)
            self._plan.add(window.directory, found)

    def _survey_one(self, window: Window, item: DirectoryItem, marks: Callable[[], frozenset[str]]) -> Records | None:
        """Decide about one item, or take it in where others must be known. What is returned goes."""
        path = join(window.directory, os.fsencode(item.name))
        clock = max(self._now, time.time_ns())
        try:
            top = self._root.open_below(window.fd, os.fsencode(item.name))
        except OSError as error:
            if error.errno == errno.EXDEV:
                self._tally.mounts += 1
            elif error.errno != errno.ENOENT:
                self._stays(item, path, Stays(Protection.UNREADABLE, b"", error))
            return None
        try:
            self._must_be_eligible(item, marks)
            contents = inspect(self._root, top, self._look(path, item), self._stop)
            record = _record(os.fsencode(item.name), top, contents, self._stats)
        except Stays as error:
            self._stays(item, path, error)
            return None
        except Stopped:
            return None
        finally:
            os.close(top)
        bounds = self._rules.sizes.get(item.rule)
        if bounds is not None and not bounds.hold(contents.size):
            return None
        self._count()
        return self._decide(window.directory, item, path, record, clock)

    def _must_be_eligible(self, item: DirectoryItem, marks: Callable[[], frozenset[str]]) -> None:
        """Raise `Stays` where nothing inside needs to be looked at."""
        if item.inside.all_excluded:
            raise Stays(Protection.EXCLUDED)
        if self._rules.rules[item.rule].ignore_incomplete:
            try:
                found = is_incomplete(item.name, marks())
            except OSError as error:
                raise Stays(Protection.UNREADABLE, b"", error) from error
            if found:
                raise Stays(Protection.INCOMPLETE)

    def _look(self, path: bytes, item: DirectoryItem) -> Look:
        earlier = {number: one for number, one in self._grouping.items() if number < item.rule}

        def foreign(
            scope: Scope, inside: bytes, files: list[str], others: list[str], directories: list[str]
        ) -> str | None:
            where = join(path, inside) if inside else path
            return scope.foreign(files, others, directories, _narrow(earlier, where, files))

        rule = self._rules.rules[item.rule]
        return Look(foreign=foreign, scope=item.inside.foreign, incomplete=rule.ignore_incomplete)

    def _decide(
        self, directory: bytes, item: DirectoryItem, path: bytes, record: Records, clock: int
    ) -> Records | None:
        rules, number = self._rules, item.rule
        modified, changed = record.modified[0], record.changed[0]
        candidates = rules.together.get(number)
        if candidates is None:
            verdict = decide(modified, changed, rules.lines[number], clock)
            self._tell(item, path, verdict, reason(verdict, rules.ages[number], rules.settle), record, modified)
            return record if verdict is Verdict.REMOVE else None
        when: int | None
        match rules.rules[number].time.source:
            case "ChangeTime":
                when = changed
            case "BirthTime":
                when = record.born[0] or None
            case _:
                when = candidates.time(os.fsdecode(path), modified)
        verdict = candidates.verdict(when, modified, changed, clock)
        if when is not None and verdict is not Verdict.FUTURE:
            candidates.add(directory, record, times=[when], verdicts=[verdict], groups=[item.group])
            return None
        self._tell(item, path, verdict, candidates.reason(verdict), record, modified if when is None else when)
        return None

    def _stays(self, item: DirectoryItem, path: bytes, stays: Stays) -> None:
        """Count an item that stays whole."""
        protection = stays.why if isinstance(stays.why, Protection) else Protection.UNREADABLE
        self._count()
        self._tally.uncounted += 1
        self._tally.protected[protection] += 1
        if protection is Protection.UNREADABLE and stays.error is not None:
            self._on_error(join(path, stays.path) if stays.path else path, stays.error)
        where = f"{shown(stays.path)} in it" if stays.path else "it"
        self._tell(item, path, Verdict.STAYS, f"stays whole: {where} {_WORDS[protection]}", None, None)

    def _count(self) -> None:
        self._tally.scanned += 1
        self._tally.matched += 1
        self._tally.directory_items += 1

    def _tell(
        self, item: DirectoryItem, path: bytes, verdict: Verdict, why: str, record: Records | None, when: int | None
    ) -> None:
        self._tally.verdicts[verdict] += 1
        if self._tally.wants_sample(verdict):
            self._tally.add_sample(path, verdict, why)
        if self._on_decision is not None:
            candidates = self._rules.together.get(item.rule)
            group = {} if candidates is None else candidates.grouping.values(item.group)
            size, allocated = (None, None) if record is None else (record.size[0], record.allocated[0])
            self._on_decision(Decided(path, item.rule, verdict, (why,), group, size, allocated, when))


def _narrow(
    groupings: Mapping[int, Grouping], directory: bytes, files: list[str]
) -> Callable[[int, bytearray], bytearray] | None:
    return narrowing(groupings, directory, files, {}) if groupings else None


def _record(name: bytes, top: int, contents: Contents, stats: Stats) -> Records:
    """An item as a plan has files: its own identity, and the fingerprint of what is inside.

    The times are the newest inside.
    """
    own = os.fstat(top)
    stats.take(top, [b"."])
    record = Records()
    record.extend(
        [name],
        inode=[own.st_ino],
        device=[own.st_dev],
        size=[contents.size],
        allocated=[contents.allocated],
        modified=[contents.modified],
        changed=[contents.changed],
        born=stats.born(),
        links=[1],
    )
    return record
