"""What an earlier run left in the trash: brought back if it was only renamed, finished if its emptying had begun.

So is finished what was only renamed and cannot come back, because something else has taken its place or its parent is
gone, unless somebody has it open: it was about to be removed, and half of it is nowhere. What cannot come back for
another reason, which may pass, waits for the next run.
"""

from __future__ import annotations

import errno
import os
from json.encoder import encode_basestring_ascii
from typing import Final

from housekeeper_worker.audit import Audit
from housekeeper_worker.logs import log
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.contents import Look, Openers, Stays, Stopped, inspect
from housekeeper_worker.volume.directory_removal import left_over, not_brought_back
from housekeeper_worker.volume.emptying import Emptying
from housekeeper_worker.volume.lease import Leases, breaks_ignored
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.trash import Entry, Trash

_HAS_NO_PLACE: Final = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""Errors of a rename to where something else is, or below what is no directory any more."""


def recover(root: VolumeRoot, run: str, tally: Tally, audit: Audit, stop: Stop, *, now_ns: int) -> None:
    """Empty the trash of a volume, but for what comes back. Raises `AuditLost`."""
    try:
        trash = Trash.open(root, run, create=False)
    except FileNotFoundError:
        return
    except OSError as error:
        tally.add_note(f"what an earlier run left in .housekeeper/trash could not be looked at: {error.strerror}")
        return
    with trash, breaks_ignored():
        entries = trash.entries()
        if unknown := trash.unknown(entries):
            names = shown(unknown[0]) + (", …" if unknown[1:] else "")
            tally.add_note(
                f"in .housekeeper/trash is what no journal tells of ({names}): look at it, and remove it by hand"
            )
        emptying = Emptying(root, trash.fd, stop)
        for entry in entries:
            if stop.reason is not None:
                return
            if entry.state == "moving" and not _goes(root, trash, entry, tally, audit, stop, now_ns):
                continue
            _finish(root, trash, emptying, entry, tally, audit)
        audit.flush()


def _goes(root: VolumeRoot, trash: Trash, entry: Entry, tally: Tally, audit: Audit, stop: Stop, now_ns: int) -> bool:
    """Bring back what was only renamed. Returns whether it is to be finished instead."""
    try:
        if not trash.is_there(entry):
            trash.note(entry, "over")
            return False
        trash.bring_back(entry)
    except OSError as error:
        why = error
    else:
        audit.file("broughtBack", entry.path, _members(entry))
        log("info", "brought back what an earlier run had begun with", path=shown(entry.path), run=entry.run)
        return False
    if why.errno not in _HAS_NO_PLACE:
        not_brought_back(tally, entry, why)
        return False
    try:
        _must_be_free(root, trash, entry, stop, now_ns)
        trash.commit([entry])
    except Stopped:
        return False
    except (OSError, Stays):
        not_brought_back(tally, entry, why)
        return False
    return True


def _must_be_free(root: VolumeRoot, trash: Trash, entry: Entry, stop: Stop, now_ns: int) -> None:
    """Raise `Stays` if a directory in the trash is used."""
    top = root.open_below(trash.fd, entry.name)
    try:
        inspect(root, top, Look(openers=Openers(Leases(), strict=False, now_ns=now_ns), removable=True), stop)
    finally:
        os.close(top)


def _finish(root: VolumeRoot, trash: Trash, emptying: Emptying, entry: Entry, tally: Tally, audit: Audit) -> None:
    told = entry.state == "told"
    audit.intent(entry.path, entry.path, 1)
    done = emptying.empty(entry.name)
    tally.bytes_freed += done.freed
    if not told:
        tally.removed += 1
    trash.note(entry, "over" if done.whole else "told")  # before the audit, which may be lost: it is counted now
    audit.file("finished", entry.path, f'{_members(entry)},"bytes":{done.freed}')
    left_over(root, tally, entry, done)
    log("info", "finished what an earlier run had begun with", path=shown(entry.path), run=entry.run)


def _members(entry: Entry) -> str:
    return f'"run":{encode_basestring_ascii(entry.run)},"inode":{entry.inode}'
