"""Brakes: limits on the whole plan, looked at before the first removal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from housekeeper_api.quantities import format_bytes
from housekeeper_api.task import Brakes, PastRun
from housekeeper_worker.retention.candidates import Candidates

ENOUGH_RUNS: Final = 3
"""Past runs below which there is no telling what is usual."""
SURGE: Final = 10
"""How many times the median of the past runs a plan may be."""
SURGE_FLOOR: Final = 100
"""A plan of up to so many items is never a surge: where there is little to do, ten times as much is little too, and a
person reads through a hundred names."""
MANY: Final = 10
"""Files that the last run left. Where there were so many, an empty volume is more likely not the right one."""
_GROUP_LENGTH: Final = 60


class Numbers(NamedTuple):
    """What a run found."""

    scanned: int
    selected: int
    planned: int
    planned_bytes: int
    """Allocated; a file counts once, and only if all its names are planned."""
    not_counting: int = 0
    """Of the selected: what stays and does not count. It makes no plan look like a smaller part."""
    quarantined: int = 0
    """Of the planned: what would be moved into quarantine."""
    passed_by: int = 0
    """Directories that are there, and into which no rule looks."""
    marked: bool = False
    """Whether nothing was looked into because a marker says so."""


def tripped(brakes: Brakes, found: Numbers, past: Sequence[PastRun] | None) -> list[str]:
    """Why the plan must not be carried out, a clause for each brake that tripped; empty if it may.

    Each limit trips strictly above. `past` None: nobody keeps numbers, and what compares with them is off.
    """
    scanned, selected, planned, planned_bytes, not_counting = found[:5]
    clauses = []
    counting = selected - not_counting
    if planned * 100 > brakes.max_percent * counting:
        part = f"{percent(planned, counting)} %" + (f" of the {counting} that count" if not_counting else "")
        clauses.append(f"{part} is more than brakes.maxPercent {brakes.max_percent}")
    if brakes.max_items is not None and planned > brakes.max_items:
        clauses.append(f"{planned} files are more than brakes.maxItems {brakes.max_items}")
    if brakes.max_bytes is not None and planned_bytes > brakes.max_bytes:
        freed, limit = format_bytes(planned_bytes), format_bytes(brakes.max_bytes)
        told = f"{freed} is more than brakes.maxBytes {limit}"
        clauses.append(told if freed != limit else f"{told} ({planned_bytes} and {brakes.max_bytes} bytes)")
    if past:
        if (usual := _usual(past)) is not None and planned > max(SURGE * usual, SURGE_FLOOR):
            clauses.append(
                f"{planned} files are more than ten times {usual:g}, the median of the last {len(past)} runs"
            )
        left = past[0].scanned - past[0].removed
        if not scanned and left >= MANY and not found.marked:
            clauses.append(
                f"nothing was looked into, where the last run left {left} files: no rule takes anything in the "
                f"directories that are there ({found.passed_by}): is the right volume mounted, and are path and globs "
                "right?"
                if found.passed_by
                else f"nothing is there, where the last run left {left} files: is the right volume mounted, the path "
                "right?"
            )
    return clauses


def off_for_want_of_runs(past: Sequence[PastRun] | None) -> str | None:
    """A sentence about the brakes that had nothing to compare with; None if they had."""
    if past is None:
        return "no numbers of past runs: the brakes for unusually large plans and for an empty volume are off"
    if len(past) < ENOUGH_RUNS:
        return (
            f"the brake for unusually large plans is off until {ENOUGH_RUNS} runs are there to compare with "
            f"(now {len(past)})"
        )
    return None


def _usual(past: Sequence[PastRun]) -> float | None:
    if len(past) < ENOUGH_RUNS:
        return None
    # Not of `statistics`, whose import alone takes as long as everything that a small run does.
    planned = sorted(run.planned for run in past)
    middle = len(planned) // 2
    return planned[middle] if len(planned) % 2 else (planned[middle - 1] + planned[middle]) / 2


def emptying(rules: Iterable[tuple[str, Candidates]]) -> list[str]:
    """Why a plan that leaves nothing of a group must not be carried out, a clause for each rule; empty if it may.

    `rules` are those that know their groups, each with its name. A rule with a `keep` never means that.
    """
    clauses = []
    for name, candidates in rules:
        if candidates.emptied:
            more = f" and {len(candidates.emptied) - 1} more" if len(candidates.emptied) > 1 else ""
            first = min(candidates.emptied)
            first = first if len(first) <= _GROUP_LENGTH else first[: _GROUP_LENGTH - 1] + "…"
            group = f" ({first}{more})" if first else ""
            clauses.append(f"nothing would be left of {'a group' if group else 'what'} rule {name}{group} keeps")
    return clauses


def sentence(found: Numbers, clauses: Sequence[str], approve: str = "") -> str:
    """What would be done, how to `approve` that, and all that speaks against it."""
    acts = {"remove": found.planned - found.quarantined, "quarantine": found.quarantined}
    would = " and ".join(f"{act} {count}" for act, count in acts.items() if count) or "remove 0"
    return (
        f"the plan would {would} of {found.selected} selected files "
        f"({format_bytes(found.planned_bytes)}){approve}; nothing of it was removed: {'; '.join(clauses)}"
    )


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent with one decimal, rounded up, so that it never looks like less than it is."""
    tenths = -(-part * 1000 // whole) if whole else 0
    return f"{tenths // 10}.{tenths % 10}"
