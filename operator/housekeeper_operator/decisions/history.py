"""Which ended runs of a policy are no longer kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from housekeeper_api.conditions import GOOD_STATES
from housekeeper_operator.decisions.views import RunView


def surplus(
    runs: Iterable[RunView], *, succeeded: int, failed: int, ttl: timedelta, now: datetime
) -> tuple[list[RunView], datetime | None]:
    """Ended and recorded runs to delete, and when the next one falls due.

    Kept are the newest `succeeded` good ones and the newest `failed` others, and none longer than `ttl` after its end.
    """
    kept: list[datetime] = []
    remove: list[RunView] = []
    good, bad = succeeded, failed
    ended = [run for run in runs if run.terminal and run.recorded]
    for run in sorted(ended, key=lambda item: (item.completed or item.created, item.name), reverse=True):
        due = (run.completed or run.created) + ttl
        if run.state in GOOD_STATES:
            good -= 1
            room = good >= 0
        else:
            bad -= 1
            room = bad >= 0
        if room and now < due:
            kept.append(due)
        else:
            remove.append(run)
    return remove, min(kept, default=None)
