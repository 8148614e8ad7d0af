"""Times of files that are not their modification times: last read, last changed in any way, made.

Which of them can be trusted is a question of the mount and the file system. What nobody keeps is refused before the
scan, or not known of a file; the modification time never stands in for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from housekeeper_api.durations import Duration
from housekeeper_api.task import Rule, TimeSource
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.volume import syscalls
from housekeeper_worker.volume.blocks import Block

Times = Callable[[Block], Sequence[int | None]]
"""From a block to the times of its files in nanoseconds; None where one is not known."""

_RELATIME_LAG: Final = "2d"
"""With relatime an access is written down if the last one that was is a day old: ages below two days mean nothing."""


def _born(block: Block) -> list[int | None]:
    # 1 January 1970 to the nanosecond is what file systems say that have the field and nothing in it.
    return [born or None for born in block.stats.born()]


_READERS: Final[Mapping[TimeSource, Times]] = {
    "AccessTime": lambda block: block.stats.accessed(),
    "ChangeTime": lambda block: block.stats.changed(),
    "BirthTime": _born,
}


def readers(rules: Sequence[Rule]) -> dict[int, Times]:
    """How the times of files are had, for the rules that ask for another than the modification time, by number."""
    return {number: _READERS[rule.time.source] for number, rule in enumerate(rules) if rule.time.source in _READERS}


def check_access_times(root: int, rules: Sequence[Rule]) -> None:
    """Refuse rules by access time where the mount of `root`, a descriptor, does not keep it. Raises `CouldNotRun`."""
    asking = [rule for rule in rules if rule.time.source == "AccessTime"]
    if not asking:
        return
    noatime, relatime = _mount_keeps(root)
    if noatime:
        raise CouldNotRun(
            f"rule {asking[0].name} goes by AccessTime, and the volume is mounted noatime: nobody writes down when a "
            "file is read. Mount it with relatime or strictatime, or let time.source be ModificationTime"
        )
    for rule in asking:
        age = rule.remove_older_than
        if relatime and age is not None and Duration.parse(age).seconds < Duration.parse(_RELATIME_LAG).seconds:
            raise CouldNotRun(
                f"rule {rule.name} goes by AccessTime with removeOlderThan {age}, and the volume is mounted relatime, "
                f"where that time may be a day behind: write at least {_RELATIME_LAG}, or mount it with strictatime"
            )


def access_lines(rules: Sequence[Rule], old_before: Sequence[int]) -> dict[int, int | None]:
    """For rules by access time the line (ns) that a file must not have passed when it is removed; None where there is
    no age: it must not have been read since it was looked at."""
    return {
        number: line if rule.remove_older_than is not None else None
        for number, (rule, line) in enumerate(zip(rules, old_before, strict=True))
        if rule.time.source == "AccessTime"
    }


def _mount_keeps(root: int) -> tuple[bool, bool]:
    """Whether the mount is noatime, and whether it is relatime."""
    flags = os.fstatvfs(root).f_flag
    options = _options_of(root)
    return bool(flags & os.ST_NOATIME) or "noatime" in options, bool(flags & os.ST_RELATIME) or "relatime" in options


def _options_of(root: int) -> frozenset[str]:
    """Options of the mount and of its file system as mountinfo has them; empty where that cannot be had.

    statvfs knows those of the mount alone; a file system that was made noatime as a whole says so only here.
    """
    try:
        mount_id = syscalls.statx(root).mount_id
        with open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                fields = line.split(b" ")
                if mount_id is not None and int(fields[0]) == mount_id:
                    return frozenset(os.fsdecode(b",".join((fields[5], fields[-1].strip()))).split(","))
    except (OSError, ValueError, IndexError):
        pass
    return frozenset()
