"""What happens to one selected file, and why. Pure: its times and the lines of the run in, one of few verdicts out."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, Literal, NamedTuple

from housekeeper_worker import lanes

Decision = Literal["Keep", "Remove"]

_SECOND: Final = 1_000_000_000


class Verdict(IntEnum):
    """What was decided about a file, as a number that is cheap to keep a million of."""

    REMOVE = 0
    """Older than the rule says."""
    YOUNG = 1
    """Not older than the rule says."""
    SETTLING = 2
    """Old by its modification time, but something changed it within `settleTime`."""
    SETTLING_BY_CHANGE_TIME = 3
    """Like SETTLING, and only the change time (ctime) says so: owner, mode, name or links changed, not the content."""
    FUTURE = 4
    """Its time lies in the future. Nobody can tell how old it is."""
    KEPT = 5
    """`keep` keeps it."""
    UNPARSABLE = 6
    """There is no time in its name, or more than one."""
    UNLISTED = 7
    """Of a group under `maxTotalSize` not everything could be listed, so nobody knows what it takes."""
    SPARED = 8
    """It might go, and need not: the volume is empty enough without."""
    STAYS = 9
    """Something protects it whatever its age; the reason says what."""


class Decided(NamedTuple):
    """One decision, for whoever wants to see all of them."""

    path: bytes
    rule: int
    """Number of the rule, from 0."""
    verdict: Verdict
    reasons: tuple[str, ...]
    group: Mapping[str, str]
    """What `groupBy` captured; empty without."""
    size: int | None
    """None where nobody looked, because it stays for what its name, or something in it, says."""
    allocated: int | None
    time: int | None
    """In nanoseconds; mtime where its name says none. None as for `size`."""


ALWAYS: Final = 2**63 - 1
"""A line after every time that a file system can store: everything is old, so that `keep` alone decides."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lines:
    """The lines that one rule draws through time in one run, in nanoseconds since the epoch."""

    old_before: int
    """Strictly before: old."""
    settled_until: int
    """Up to here, and not after: settled."""


def is_old(modified: int, lines: Lines) -> bool:
    """Whether a file is older than the rule says, which is necessary to remove it, and not sufficient."""
    return modified < lines.old_before


def is_settled(time: int, lines: Lines) -> bool:
    """Whether a change at `time` is long enough ago."""
    return time <= lines.settled_until


def decide(modified: int, changed: int, lines: Lines, clock: int) -> Verdict:
    """Decide about a file by its modification and change times. `clock` is the time at which it was looked at.

    `clock` may be later than the `now` of the run: what was written during a long scan is young, not in the future.
    """
    if not is_old(modified, lines):
        return Verdict.FUTURE if modified > clock else Verdict.YOUNG
    if not is_settled(modified, lines):
        return Verdict.SETTLING
    if not is_settled(changed, lines):
        return Verdict.SETTLING_BY_CHANGE_TIME
    return Verdict.REMOVE


def old_at_once(modified: array[int], changed: Callable[[], array[int]], lines: Lines, clock: int) -> bytes | None:
    """Decide about many files by times in whole seconds, rounded down: marks of those that go; the others are young.

    None where that does not decide all of them as `decide` would: some are settling or in the future, or lie in the
    second that a line goes through. `changed` is asked only if anything is old.
    """
    count, times = len(modified), lanes.number(modified)
    line, settled = lines.old_before // _SECOND, lines.settled_until // _SECOND
    if not lanes.are_known(times, count) or lanes.below(times, clock // _SECOND, count).bit_count() != count:
        return None
    old = lanes.below(times, line, count)
    if old != lanes.below(times, line + 1, count):
        return None
    if old:
        changes = lanes.number(changed())
        if not lanes.are_known(changes, count) or old & ~lanes.below(changes, settled, count):
            return None
        if line > settled and old & ~lanes.below(times, settled, count):
            return None
    return lanes.marks(old, count)


def decision(verdict: Verdict) -> Decision:
    """Whether a file stays."""
    return "Remove" if verdict is Verdict.REMOVE else "Keep"


def reason(verdict: Verdict, older_than: str, settle: str) -> str:
    """The verdict in words. `older_than` as in the rule; `settle` as a span, such as `10m`."""
    match verdict:
        case Verdict.REMOVE:
            return f"older than {older_than}"
        case Verdict.YOUNG:
            return f"not older than {older_than}"
        case Verdict.SETTLING:
            return f"settling: modified within the last {settle}"
        case Verdict.SETTLING_BY_CHANGE_TIME:
            return f"settling: owner, mode, name or links changed within the last {settle}"
        case Verdict.FUTURE:
            return "its time lies in the future"
        case Verdict.KEPT:
            return "kept by keep"
        case Verdict.UNPARSABLE:
            return "no time can be read in its name, or more than one"
        case Verdict.UNLISTED:
            return "not everything could be read, so the size of its group is not known"
        case Verdict.SPARED:
            return "spared: the volume is empty enough without"
        case Verdict.STAYS:
            return "protected"
