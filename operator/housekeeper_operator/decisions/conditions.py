"""Conditions as Kubernetes wants them: one of each type, and a transition time that moves with the status only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from housekeeper_operator.decisions.views import Object, format_time

MAX_MESSAGE: Final = 1024


def make(kind: str, *, status: bool | None, reason: str, message: str, generation: int) -> Object:
    """A condition without its transition time. `status` None is Unknown."""
    return {
        "type": kind,
        "status": "Unknown" if status is None else str(status),
        "reason": reason,
        "message": message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…",
        "observedGeneration": generation,
    }


def merged(existing: Iterable[Object], wanted: Iterable[Object], now: datetime) -> list[Object]:
    """`existing` with `wanted` put in, by type; a condition whose status stays keeps its transition time."""
    found = {item["type"]: item for item in existing}
    for item in wanted:
        old = found.get(item["type"])
        unchanged = old is not None and old.get("status") == item["status"]
        since = old["lastTransitionTime"] if unchanged and old is not None else format_time(now)
        found[item["type"]] = {**item, "lastTransitionTime": since}
    return sorted(found.values(), key=lambda item: str(item["type"]))
