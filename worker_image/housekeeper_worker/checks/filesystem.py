"""How full a volume is, in bytes and inodes, as df computes it."""

from __future__ import annotations

import os

from housekeeper_api.quantities import format_bytes
from housekeeper_worker.checks.measurement import Measurement, Unmeasurable


def measure_filesystem(mount: str) -> list[Measurement]:
    """`used` and `inodesUsed` in percent of the file system at `mount`. Raises `Unmeasurable`."""
    try:
        fd = os.open(mount, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            stat = os.fstatvfs(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise Unmeasurable(f"{mount}: {error.strerror}; check spec.volumes") from error
    used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    available = stat.f_bavail * stat.f_frsize
    return [_bytes(used, available), _inodes(stat.f_files - stat.f_ffree, stat.f_favail)]


def _bytes(used: int, available: int) -> Measurement:
    # What is reserved for root is neither used nor available: df leaves it out of the whole, and so does this.
    whole = used + available
    if not whole:
        return Measurement("used", None, "percent", "the file system reports no size")
    return Measurement("used", 100 * used / whole, "percent", f"{format_bytes(used)} of {format_bytes(whole)}")


def _inodes(used: int, available: int) -> Measurement:
    whole = used + available
    if not whole:
        return Measurement("inodesUsed", None, "percent", "this file system has no fixed number of inodes")
    return Measurement("inodesUsed", 100 * used / whole, "percent")
