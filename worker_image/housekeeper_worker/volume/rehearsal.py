"""A dry run: what carrying a plan out would count. Changes no file."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from itertools import compress

from housekeeper_worker.retention.records import Records
from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.batches import Batch, Share
from housekeeper_worker.volume.directory_removal import DirectoryRemoval
from housekeeper_worker.volume.lease import Leases, Use
from housekeeper_worker.volume.outcomes import Outcomes
from housekeeper_worker.volume.root import VolumeRoot


class Rehearsal:
    """Counts what would be removed of batches."""

    def __init__(
        self,
        root: VolumeRoot,
        outcomes: Outcomes,
        stop: Stop,
        leases: Leases | None,
        *,
        strict: bool,
        moved: Collection[int],
        directories: DirectoryRemoval | None,
    ) -> None:
        """`leases`: None where nobody wants to know of openers. `moved`: numbers of causes whose files go by an act.

        `directories`: who knows of directories that are items; None: there are none.
        """
        self._root = root
        self._outcomes = outcomes
        self._stop = stop
        self._leases = leases
        self._strict = strict
        self._moved = moved
        self._directories = directories

    def rehearse(self, batch: Batch, looked_at: int) -> None:
        """Count what would be removed. Changes no file. Openers of the first `looked_at` files are looked for."""
        outcomes = self._outcomes
        for share in batch:
            if self._stop.reason is not None:
                return
            if self._directories is not None and self._directories.takes(share):
                self._directories.rehearse(share)
                continue
            records = share.records
            goes = bytearray(b"\x01" * len(records))
            if self._leases is not None:
                if looked_at:
                    self._look_for_openers(self._leases, share, goes, looked_at)
                outcomes.tally.use[Use.NOT_LOOKED_AT] += max(0, len(records) - looked_at)
            looked_at = max(0, looked_at - len(records))
            if self._moved:
                each = zip(goes, records.cause, strict=True)
                moved = bytearray([went and cause in self._moved for went, cause in each])
                outcomes.moved_files("wouldQuarantine", share, moved)
                goes = bytearray([went and not mark for went, mark in zip(goes, moved, strict=True)])
            outcomes.tally.removed += goes.count(1)
            outcomes.tally.bytes_freed += sum(compress(records.allocated, self._would_free(records, goes)))
            outcomes.tell("wouldRemove", share, goes)

    def _look_for_openers(self, leases: Leases, share: Share, goes: bytearray, count: int) -> None:
        with contextlib.suppress(OSError), self._root.directory(share.directory, for_reading=False) as fd:
            for place, name in enumerate(share.records.names[:count]):
                try:
                    use = leases.look(fd, name, share.records.device[place])
                except OSError:
                    continue  # a dry run removes nothing, so there is nothing to tell but that it changed meanwhile
                if use is Use.OPEN or (self._strict and use is Use.UNKNOWN):
                    goes[place] = 0
                    self._outcomes.stays_for(use, share, place)
                else:
                    self._outcomes.tally.use[use] += 1

    def _would_free(self, records: Records, goes: bytearray) -> Sequence[int]:
        """Of the files that would go, those whose last name that is."""
        if max(records.links) <= 1:
            return goes
        columns = zip(goes, records.links, records.device, records.inode, strict=True)
        is_last = self._outcomes.links.is_last
        return [mark and (links <= 1 or is_last(device, inode, links)) for mark, links, device, inode in columns]
