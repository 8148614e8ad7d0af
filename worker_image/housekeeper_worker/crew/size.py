"""How many processes a run may have."""

from __future__ import annotations

import os
from typing import Final

from housekeeper_worker.checks.cgroup import Cgroup

_MOST: Final = 4
"""Unless a policy names a number: more of them only wait for the same disk, and each takes its memory."""


def processes(wanted: int) -> int:
    """`wanted`; where that is 0, one for each whole processor that this process may use, and at most four."""
    if wanted:
        return wanted
    allowed = len(os.sched_getaffinity(0))
    limit = Cgroup().cpu()
    if limit is not None:
        allowed = min(allowed, int(limit.cores))
    return max(1, min(allowed, _MOST))
