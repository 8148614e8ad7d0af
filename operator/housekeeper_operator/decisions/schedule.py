"""When a CronJob's schedule fires next, as the CronJob controller reckons it.

The controller is the truth (robfig/cron v3). cronsim reads the same five fields but follows Debian's cron where robfig
does not, so it is asked for wall-clock times only, and what differs is settled here:

- A wall-clock time that a zone skips in spring does not fire; one that happens twice in autumn fires twice.
- With both day fields restricted, either one is enough; `*/2` counts as a restriction (to cronsim it is a star).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

NEAR: Final = timedelta(hours=3)
"""No zone shifts its clock by more than this in one step (Antarctica/Troll shifts by 2 h)."""
HORIZON: Final = timedelta(days=5 * 366)
"""robfig/cron gives up after five years: such a schedule never fires."""


def next_time(schedule: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first time strictly after `after` at which `schedule` fires, in UTC; None when it never does.

    `schedule` has five fields and no `H`. Raises `ValueError` when it cannot be read.
    """
    local = after.astimezone(zone)
    near_change = local.utcoffset() != (local + NEAR).utcoffset() or (
        (after - NEAR).astimezone(zone).utcoffset() != (after + NEAR).astimezone(zone).utcoffset()
    )
    wall = local.replace(tzinfo=None, fold=0)
    start = wall - NEAR if near_change else wall - timedelta(minutes=1)
    try:
        times = CronSim(_explicit(schedule), start)
    except CronSimError as error:
        raise ValueError(f"{schedule!r} is not a cron schedule: {error}") from error
    best: datetime | None = None
    for candidate in times:
        if candidate > wall + HORIZON or (best is not None and candidate > _wall(best, zone) + NEAR):
            break
        for moment in _instants(candidate, zone):
            if moment > after and (best is None or moment < best):
                best = moment
        if best is not None and not near_change and not _ambiguous_near(candidate, zone):
            break
    return best


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _ambiguous_near(candidate: datetime, zone: ZoneInfo) -> bool:
    """Whether the zone changes its clock within `NEAR` of a wall-clock time."""
    before, behind = (candidate - NEAR).replace(tzinfo=zone), (candidate + NEAR).replace(tzinfo=zone)
    return before.utcoffset() != behind.utcoffset()


def _instants(candidate: datetime, zone: ZoneInfo) -> list[datetime]:
    """When a wall-clock time happens: once, twice (autumn), or never (spring)."""
    found = []
    for fold in (0, 1):
        moment = candidate.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if _wall(moment, zone) == candidate and moment not in found:
            found.append(moment)
    return found


def _explicit(schedule: str) -> str:
    """`schedule` with `*/n` in the day fields written out, so that cronsim takes it for a restriction."""
    fields = schedule.split()
    if len(fields) != 5:
        raise ValueError(f"{schedule!r} is not a cron schedule: it has {len(fields)} fields, not 5")
    fields[2] = _expand(fields[2], 1, 31)
    fields[4] = _expand(fields[4], 0, 6)
    return " ".join(fields)


def _expand(field: str, first: int, last: int) -> str:
    parts = []
    for part in field.split(","):
        base, slash, step = part.partition("/")
        if base == "*" and slash and step.isdigit() and int(step) > 1:
            parts.append(",".join(str(value) for value in range(first, last + 1, int(step))))
        else:
            parts.append("*" if base == "*" else part)
    return "*" if "*" in parts else ",".join(parts)
