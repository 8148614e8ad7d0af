"""The limits of this process' control group, versions 1 and 2.

A container sees its own group at the mount point (a cgroup namespace), or its path from the host's root; both are
tried, and every ancestor that can be seen, for the pod above the container may be what is limited. The tightest counts.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Final

_NO_LIMIT: Final = 1 << 62
"""Version 1 writes "no limit" as a number near 2^63, rounded to pages."""


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes. `used` is without the page cache that the kernel would give back first (inactive_file)."""

    limit: int
    used: int


@dataclasses.dataclass(frozen=True, slots=True)
class CPULimit:
    """`cores` that may be used, and `used_seconds` of processor time so far."""

    cores: float
    used_seconds: float


class Cgroup:
    """Reads limits. The two paths are parameters so that recorded hierarchies can be read as well."""

    def __init__(self, proc: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> None:
        self._mount = mount
        self._groups = dict(_parse_groups(_read(proc) or ""))

    def memory(self) -> MemoryLimit | None:
        """The tightest memory limit; None if there is none, or none can be seen."""
        limits: list[MemoryLimit] = []
        for directory in self._directories(""):
            limit = _number(f"{directory}/memory.max")
            used = _number(f"{directory}/memory.current")
            if limit is not None and used is not None:
                cache = _member(f"{directory}/memory.stat", "inactive_file") or 0
                limits.append(MemoryLimit(limit, max(used - cache, 0)))
        for directory in self._directories("memory"):
            limit = _number(f"{directory}/memory.limit_in_bytes")
            used = _number(f"{directory}/memory.usage_in_bytes")
            if limit is not None and used is not None and limit < _NO_LIMIT:
                cache = _member(f"{directory}/memory.stat", "total_inactive_file") or 0
                limits.append(MemoryLimit(limit, max(used - cache, 0)))
        return min(limits, key=lambda one: one.limit, default=None)

    def cpu(self) -> CPULimit | None:
        """The tightest processor quota; None if there is none, or none can be seen."""
        limits: list[CPULimit] = []
        for directory in self._directories(""):
            quota, _, period = (_read(f"{directory}/cpu.max") or "").strip().partition(" ")
            used = _member(f"{directory}/cpu.stat", "usage_usec")
            if quota.isdigit() and period.isdigit() and used is not None:
                limits.append(CPULimit(int(quota) / int(period), used / 1e6))
        for directory in self._directories("cpu"):
            period_v1 = _number(f"{directory}/cpu.cfs_period_us")
            quota_v1 = _number(f"{directory}/cpu.cfs_quota_us")
            used = self._cpu_used_v1(directory)
            if period_v1 and quota_v1 and quota_v1 > 0 and used is not None:
                limits.append(CPULimit(quota_v1 / period_v1, used / 1e9))
        return min(limits, key=lambda one: one.cores, default=None)

    def _cpu_used_v1(self, directory: str) -> int | None:
        """Nanoseconds; cpu and cpuacct are mounted together nearly everywhere, else side by side."""
        used = _number(f"{directory}/cpuacct.usage")
        if used is not None:
            return used
        beside = directory.replace(f"{self._mount}/cpu", f"{self._mount}/cpuacct", 1)
        return _number(f"{beside}/cpuacct.usage")

    def _directories(self, controller: str) -> Iterator[str]:
        """Directories of our group and its ancestors, the mount point last; `controller` empty for version 2."""
        if controller not in self._groups:
            return
        base = f"{self._mount}/{controller}" if controller else self._mount
        if not controller and not os.path.exists(f"{base}/cgroup.controllers"):
            base = f"{self._mount}/unified"  # systemd's hybrid layout
        path = self._groups[controller].strip("/")
        while path:
            if os.path.isdir(f"{base}/{path}"):
                yield f"{base}/{path}"
            path = path.rpartition("/")[0]
        yield base


def _parse_groups(text: str) -> Iterator[tuple[str, str]]:
    """Lines of /proc/self/cgroup: `4:memory:/kubepods/pod1`, and `0::/…` for version 2 (key: empty)."""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "", path
        for controller in controllers.split(","):
            if controller:
                yield controller, path


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = (_read(path) or "").strip()
    try:
        return int(text)
    except ValueError:
        return None  # missing, or `max`


def _member(path: str, key: str) -> int | None:
    for line in (_read(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.strip().isdigit():
            return int(value)
    return None
