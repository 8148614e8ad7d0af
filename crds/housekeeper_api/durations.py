"""Durations: one number and one unit, such as `30d`, `12h` or `500ms`. Standard library only."""

from __future__ import annotations

import dataclasses
import re
from typing import Final, Self

PATTERN: Final = r"^(0|[1-9][0-9]{0,5})(ms|s|m|h|d|w|mo|y)$"
"""What a duration looks like; valid in Python, in RE2 and in JSON Schema."""
MAX_LENGTH: Final = 32
"""More than any duration needs, so that a mistake is answered with a sentence rather than with a length."""

MILLISECONDS: Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "mo": 30 * 86_400_000,
    "y": 365 * 86_400_000,
}
"""Length of each unit where a duration is a plain span of time: a day has 24 h, a month 30 days, a year 365."""

SHAPE: Final = "a duration is one number and one unit, such as 30d, 12h or 500ms (units: ms, s, m, h, d, w, mo, y)"

_DURATION: Final = re.compile(PATTERN[:-1] + r"\Z")


@dataclasses.dataclass(frozen=True, slots=True)
class Duration:
    """A duration as it was written.

    In retention (`removeOlderThan`) d, w, mo and y are calendar steps in the policy's time zone, and the worker counts
    them from number and unit; everywhere else `seconds` is what counts.
    """

    number: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration. Raises `ValueError` with a sentence that says what to write."""
        match = _DURATION.match(text)
        if match is None:
            raise ValueError(SHAPE)
        return cls(int(match[1]), match[2])

    @property
    def milliseconds(self) -> int:
        """The span in whole milliseconds, with days of 24 hours."""
        return self.number * MILLISECONDS[self.unit]

    @property
    def seconds(self) -> float:
        """The span in seconds, with days of 24 hours."""
        return self.milliseconds / 1000

    def __str__(self) -> str:
        return f"{self.number}{self.unit}"
