"""What a check measures."""

from __future__ import annotations

import dataclasses
from typing import Literal

Unit = Literal["percent", "bytes"]


class Unmeasurable(Exception):
    """The value could not be had. The message says why; the check becomes Unknown."""


@dataclasses.dataclass(frozen=True, slots=True)
class Measurement:
    """One value. `key` is its name in the resource, such as `used`."""

    key: str
    value: float | None
    """None: there is no such value here, for the reason `note`."""
    unit: Unit
    note: str = ""
    """What else a person wants to know, such as `3.1 GiB of 4.0 GiB`."""
