"""Removal: a plan carried out batch by batch, each announced in the audit before it begins."""

from __future__ import annotations

import os
from typing import Final

from housekeeper_api.task import OpenFiles
from housekeeper_worker.audit import Audit
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.batches import Batch, batches, ends, length
from housekeeper_worker.volume.faults import Fault
from housekeeper_worker.volume.lease import Use, breaks_ignored
from housekeeper_worker.volume.remover import Members, Remover
from housekeeper_worker.volume.root import VolumeRoot

BATCH: Final = 500
"""Files between two intent lines of the audit."""
REHEARSED: Final = 2_000
"""Files of a plan whose openers a dry run looks for: enough for most plans, and nothing that slows a large one down."""


class Removal:
    """Carries out a plan, or shows what carrying it out would count."""

    def __init__(
        self,
        root: VolumeRoot,
        plan: Plan,
        tally: Tally,
        audit: Audit,
        stop: Stop,
        members: Members,
        open_files: OpenFiles,
    ) -> None:
        """`members`: for each cause of the plan, rule, group and reason as members of an audit line."""
        self._root = root
        self._plan = plan
        self._tally = tally
        self._audit = audit
        self._looks = open_files != "Ignore"
        self._remover = Remover(root, tally, stop, members, open_files, audited=audit.on)

    def rehearse(self) -> None:
        """Count what would be removed, and write it to the audit. Changes no file.

        The openers of the first `REHEARSED` files are looked for, each for a moment.
        """
        looked_at = REHEARSED
        with breaks_ignored():
            for batch in batches(self._plan, REHEARSED):
                if self._remover.must_end:
                    break
                self._remover.stamp = self._audit.stamp
                self._remover.rehearse(batch, looked_at)
                self._tell()
                looked_at = 0
        self._audit.flush()

    def carry_out(self) -> None:
        """Remove the files of the plan, until all are gone or the run must stop. Raises `AuditLost`."""
        free_before = self._free()
        try:
            with breaks_ignored():
                for batch in batches(self._plan, BATCH):
                    if self._remover.must_end:
                        break
                    self._announce(batch)
                    self._remover.stamp = self._audit.stamp
                    self._remover.carry_out(batch)
                    self._tell()
            self._audit.flush()
        finally:
            freed = self._free() - free_before
            self._tally_openers()
            # Others write to the volume too. What is less free than before tells nothing about this run.
            self._tally.freed_on_disk = freed if freed >= 0 else None

    def _announce(self, batch: Batch) -> None:
        if self._audit.on:
            self._audit.intent(*ends(batch), length(batch))

    def _tell(self) -> None:
        """Hand the lines about a batch to the audit."""
        self._audit.files(*self._remover.take_lines())

    def _tally_openers(self) -> None:
        """Count the removed files without openers: all but those that were counted one by one."""
        use = self._tally.use
        if not self._looks:
            use.clear()
        else:
            stayed = self._tally.stayed[Fault.UNKNOWN_USE]
            counted = use[Use.UNKNOWN] - stayed + use[Use.OPENED_MEANWHILE]
            use[Use.NOT_OPEN] = self._tally.removed - counted

    def _free(self) -> int:
        stat = os.fstatvfs(self._root.fd)
        return stat.f_bfree * stat.f_frsize
