"""What tests make outside of pytest's own directories, and how a later session finds what a killed one left.

Such a thing is named after the process that made it, by number and start time: `housekeeper-test-PID-START-…`. While
that process lives, nobody touches it; afterwards whoever comes next removes it. Other names are nobody's business.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

PLACES = (Path("/tmp"), Path("/dev/shm"))
_NAME = re.compile(r"housekeeper-(?:test|bench)-(\d+)-(\d+)(?:-|$)")


@functools.cache
def _started(pid: int) -> str:
    """When a process of this one's own number began, in ticks since the machine did."""
    return _start_of(pid)


def _start_of(pid: int) -> str:
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]


def prefix(kind: str = "test") -> str:
    """How the name of anything begins that this process, or a child that it forked, leaves if it is killed."""
    pid = os.getpid()
    return f"housekeeper-{kind}-{pid}-{_started(pid)}-"


def is_left(name: str) -> bool:
    """Whether `name` is one of ours whose process is gone."""
    found = _NAME.match(name)
    return found is not None and _start_of(int(found[1])) != found[2]


def remove(*places: Path) -> list[Path]:
    """Remove what is left in these directories, unmounting first what is mounted there. Returns what it was.

    rm takes trees that are too deep for Python's recursion, and never another file system.
    """
    there = (path for place in dict.fromkeys(places) if place.is_dir() for path in sorted(place.iterdir()))
    left = [path for path in there if is_left(path.name) and os.geteuid() in {0, path.lstat().st_uid}]
    for path in left:
        for mount in reversed(_mounts_below(path)):
            subprocess.run(["umount", mount], check=True)
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", path], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", path], check=True)
    return left


def _mounts_below(path: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4].encode().decode("unicode_escape") for line in lines)
    return [point for point in points if Path(point).is_relative_to(path)]
