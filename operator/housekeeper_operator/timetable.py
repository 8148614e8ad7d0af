"""One heap of due times for everything that is timed: the next look at a policy, the end of a wait, a retry."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar


class _Orderable(Hashable, Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


KeyT = TypeVar("KeyT", bound=_Orderable)

_SLACK = 64
"""Outdated entries that the heap may hold beyond one for each key, before it is built anew."""


class Timetable(Generic[KeyT]):
    """At most one due time a key; the earliest asked for wins. It holds no clock: times are passed in, aware."""

    def __init__(self) -> None:
        self._due: dict[KeyT, datetime] = {}
        self._heap: list[tuple[datetime, KeyT]] = []

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: KeyT, when: datetime) -> bool:
        """Have `key` due at `when`, unless it is due earlier already. True if this changed something."""
        current = self._due.get(key)
        if current is not None and current <= when:
            return False
        self._due[key] = when
        heapq.heappush(self._heap, (when, key))
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            self._heap = [(due, due_key) for due_key, due in self._due.items()]
            heapq.heapify(self._heap)
        return True

    def get(self, key: KeyT) -> datetime | None:
        """When `key` is due, or None."""
        return self._due.get(key)

    def discard(self, key: KeyT) -> None:
        """Forget the due time of `key`, if it has one."""
        self._due.pop(key, None)

    def next_due(self) -> datetime | None:
        """The earliest due time, or None."""
        self._drop_outdated()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: datetime) -> list[KeyT]:
        """Take out every key that is due at `now`, earliest first."""
        due: list[KeyT] = []
        while True:
            self._drop_outdated()
            if not self._heap or self._heap[0][0] > now:
                return due
            _, key = heapq.heappop(self._heap)
            del self._due[key]
            due.append(key)

    def _drop_outdated(self) -> None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
