"""What is left of an approved plan after it was carried out, as far as that may go another time."""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
from collections.abc import Iterable, Mapping
from typing import Final

from housekeeper_worker.held.plan_file import Record
from housekeeper_worker.volume.faults import HARMLESS, Fault
from housekeeper_worker.volume.protected import Protection
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.stats import bounded

_PASSING: Final = frozenset(
    {"settling", "unlisted", Protection.LOCKED, Protection.INCOMPLETE, Protection.UNREADABLE}
    | {Fault.IN_USE, Fault.UNKNOWN_USE, Fault.LOCKED}
    | (set(Fault) - HARMLESS)
)
"""Keys of `skipped` that say nothing about the next run."""
_NOT_THERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV}


def passing(skipped: Mapping[str, int], faults: Mapping[Fault, int]) -> dict[str, int]:
    """Of what made files stay the reasons that pass, with how many files each."""
    found = {str(reason): count for reason, count in skipped.items() if reason in _PASSING}
    return {str(fault): count for fault, count in faults.items() if count and fault in _PASSING} | found


def still_there(root: VolumeRoot, records: Iterable[Record]) -> int:
    """How many items of a plan are where they were, and what they were, as far as that can be told.

    `records` come by path bytes, so that one directory at a time is open.
    """
    count = 0
    within: bytes | None = None
    with contextlib.ExitStack() as stack:
        fd, unknown = -1, False
        for record in records:
            above, _, name = record.path.rpartition(b"/")
            if above != within:
                stack.close()
                within, fd, unknown = above, -1, False
                try:
                    fd = stack.enter_context(root.directory(above, for_reading=False))
                except OSError as error:
                    unknown = error.errno not in _NOT_THERE
            count += unknown if fd < 0 else _is_there(fd, name, record)
    return count


def _is_there(directory: int, name: bytes, record: Record) -> bool:
    try:
        stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        return error.errno not in _NOT_THERE
    if stat.st_ino != record.inode:
        return False
    # Of a directory the record has what is inside.
    return modes.S_ISDIR(stat.st_mode) or (bounded(stat.st_mtime_ns), stat.st_size) == (record.modified, record.size)
