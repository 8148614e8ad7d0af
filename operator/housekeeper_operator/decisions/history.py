"""Which ended runs of a policy are no longer kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from housekeeper_api.conditions import GOOD_STATES, IDLE_STATES
from housekeeper_operator.decisions.views import RunView


def surplus(
    runs: Iterable[RunView], *, succeeded: int, failed: int, ttl: timedelta, now: datetime
) -> tuple[list[RunView], datetime | None]:
    """Ended and recorded runs to delete, and when the next one falls due.

    Kept are the newest `succeeded` good ones, the newest `failed` that failed, and as many that were skipped or
    cancelled, so that a policy whose slots are skipped for a while does not lose sight of its failures; and none longer
    than `ttl` after its end. A run whose quarantine can still be restored is kept besides, for as long as it can.
    """
    kept: list[datetime] = []
    remove: list[RunView] = []
    room = {"good": succeeded, "failed": failed, "idle": failed}
    ended = [run for run in runs if run.terminal and run.recorded]
    for run in sorted(ended, key=lambda item: (item.completed or item.created, item.name), reverse=True):
        if run.restorable_until is not None and now < run.restorable_until:
            kept.append(run.restorable_until)
            continue
        due = (run.completed or run.created) + ttl
        drawer = "good" if run.state in GOOD_STATES else "idle" if run.state in IDLE_STATES else "failed"
        room[drawer] -= 1
        if room[drawer] >= 0 and now < due:
            kept.append(due)
        else:
            remove.append(run)
    return remove, min(kept, default=None)
