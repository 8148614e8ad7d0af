"""Log lines of a worker: one JSON object a line on standard error, with the keys `ts`, `level` and `msg`.

The standard library alone, because a worker's first decision must not wait for imports.
"""

from __future__ import annotations

import json
import os
import time
from typing import Final, Literal

Level = Literal["info", "warning", "error"]

_STDERR: Final = 2


def timestamp(ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        parts = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        return "unknown"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', parts)}.{rest // 1_000_000:03d}Z"


def log(level: Level, message: str, **fields: object) -> None:
    """Write one line. A log that cannot be written is no reason to stop: the result says what happened."""
    line = {"ts": timestamp(time.time_ns()), "level": level, "msg": message, **fields}
    try:
        os.write(_STDERR, json.dumps(line, default=str).encode() + b"\n")
    except OSError:
        return
