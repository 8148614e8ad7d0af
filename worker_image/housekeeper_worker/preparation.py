"""What must be so before a volume is looked at: the right one is mounted, and the clock has not gone back."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat as modes
from collections.abc import Sequence
from typing import Final

from housekeeper_api.task import Cleanup, PastRun
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.logs import timestamp
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.ownership import unreadable
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.start import start_path

_ASTRAY: Final = 60_000_000_000
"""By how much, ns, the clocks of two nodes may differ: no rule cares for so little."""


def check_clock(past: Sequence[PastRun] | None, now_ns: int) -> None:
    """Raises `CouldNotRun` where a past run was a minute later than now: no age can be believed then."""
    last = max((run.time_ns for run in past or ()), default=0)
    if last > now_ns + _ASTRAY:
        behind = (last - now_ns) / 1_000_000_000
        raise CouldNotRun(
            f"the clock says {timestamp(now_ns)}, {behind:.0f} s before the last run ({timestamp(last)}): "
            "one of the two is wrong, so no age can be believed; set the node's clock (NTP), or wait until then"
        )


def check_marker(root: VolumeRoot, marker: str | None) -> None:
    """Raises `CouldNotRun` where the file that shows that this is the right volume is not there."""
    if marker is None:
        return
    directory, _, name = start_path(marker).rpartition(b"/")
    where = f"target.volume.expectMarker: {shown(os.fsencode(marker))}"
    try:
        with root.directory(directory, for_reading=False) as fd:
            stat = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise CouldNotRun(f"{where} cannot be looked for: {unreadable(marker, root.owner(directory))}") from None
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV}:
            raise CouldNotRun(
                f"{where} is not there, so this may not be the right volume, or it is not mounted: nothing was looked "
                "at; check the claim, or make the file (touch) in the root of the volume if this is the one"
            ) from None
        raise CouldNotRun(f"{where} cannot be looked for: {error.strerror}") from error
    if not modes.S_ISREG(stat.st_mode):
        raise CouldNotRun(f"{where} is no regular file: let it be one, so that no link can stand for it")


def without_marker(what: Cleanup) -> Cleanup:
    """The same clean-up, whose rules leave the marker alone: without it the next run would refuse."""
    if what.expect_marker is None:
        return what
    exact = re.sub(r"([^\w/. -])", r"\\\1", what.expect_marker)
    rules = tuple(dataclasses.replace(rule, exclude=(*rule.exclude, exact)) for rule in what.rules)
    return dataclasses.replace(what, rules=rules)
