"""Deciding about a group by its times alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from housekeeper_api.task import Keep
from housekeeper_worker.retention.keep import Kept, keeping
from housekeeper_worker.retention.times import zone

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def ns(text: str, zone_name: str = "Etc/UTC") -> int:
    """A local time of a zone, or a time with its own offset, as nanoseconds."""
    moment = dt.datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone(zone_name))).timestamp()) * SECOND


def group(times: Sequence[int], keep: Keep, zone_name: str = "Etc/UTC", sizes: Sequence[int] | None = None) -> Kept:
    """Decide about a group whose times are given oldest first."""
    assert list(times) == sorted(times)
    return keeping(times, (lambda _: 1) if sizes is None else sizes.__getitem__, keep, zone(zone_name))
