"""Used memory: of the control group's limit where there is one, else of the host."""

from __future__ import annotations

import psutil

from housekeeper_api.quantities import format_bytes
from housekeeper_worker.checks.cgroup import Cgroup, MemoryLimit
from housekeeper_worker.checks.measurement import Measurement, Unmeasurable


def measure_memory() -> list[Measurement]:
    """`used` in percent and `available` in bytes. Raises `Unmeasurable`."""
    host = psutil.virtual_memory()
    if not host.total:
        raise Unmeasurable("the host reports no memory")
    return memory_of(Cgroup().memory(), host_total=host.total, host_available=host.available)


def memory_of(limit: MemoryLimit | None, *, host_total: int, host_available: int) -> list[Measurement]:
    """The values under `limit`, if it is tighter than the host, which a limit beyond the host's memory is not."""
    if limit is not None and 0 < limit.limit < host_total:
        whole, available, of = limit.limit, min(limit.limit - limit.used, host_available), "the limit"
        used = limit.used
    else:
        whole, available, of = host_total, host_available, "the node"
        used = host_total - host_available
    return [
        Measurement("used", 100 * used / whole, "percent", f"{format_bytes(used)} of {format_bytes(whole)}, {of}"),
        Measurement("available", max(available, 0), "bytes"),
    ]
