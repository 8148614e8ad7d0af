"""Removal: a plan carried out batch by batch, each announced in the audit before it begins."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from housekeeper_api.task import OpenFiles, Rule
from housekeeper_worker.audit import Audit
from housekeeper_worker.crew.acting import Acting, Perform
from housekeeper_worker.pace import Pace
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.acts import Act, Going
from housekeeper_worker.volume.batches import Batch, Slice, cuts, ends, files, length
from housekeeper_worker.volume.directory_removal import DirectoryRemoval
from housekeeper_worker.volume.emptied import EmptiedDirectories
from housekeeper_worker.volume.faults import Fault
from housekeeper_worker.volume.lease import Leases, Use, breaks_ignored
from housekeeper_worker.volume.outcomes import Members, Outcomes
from housekeeper_worker.volume.pressure import Gauge
from housekeeper_worker.volume.remover import Remover
from housekeeper_worker.volume.root import VolumeRoot

BATCH: Final = 500
"""Files between two intent lines of the audit."""
REHEARSED: Final = 2_000
"""Files of a plan whose openers a dry run looks for: enough for most plans, and nothing that slows a large one down."""
SHARED_ABOVE: Final = 2_000
"""Files of a plan that are too few for starting other processes to pay."""


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
        processes: int = 1,
        *,
        accessed_before: Mapping[int, int | None] = MappingProxyType({}),
        gauge: Gauge | None = None,
        act: Act | None = None,
        at_once: bool = False,
        rules: Sequence[Rule] = (),
        run: str = "",
        now_ns: int = 0,
        start: bytes = b"",
        operations_per_second: float = 0,
    ) -> None:
        """`members`: for each cause of the plan, rule, group and reason as members of an audit line.

        `processes` may work at it, if it has many files, or `at_once`. `accessed_before`: of rules by access time, by
        number, until when (ns) a file may have been read, as `Remover` has it. `gauge`: says when enough is gone; the
        plan is then carried out in its order, by one process. `act` is how the files of those rules go that it names,
        by one process too; files of all others are unlinked. `rules`, the name of the run and its time are for
        directories: those that are items, and those that it empties below `start`. Those too are one process's.
        """
        self._gauge = gauge
        self._pace = Pace(operations_per_second, stop) if operations_per_second else None
        self._root = root
        self._plan = plan
        self._tally = tally
        self._audit = audit
        self._stop = stop
        self._looks = open_files != "Ignore"
        alone = gauge is not None or act is not None
        self._processes = processes if not alone and (at_once or len(plan) > SHARED_ABOVE) else 1
        read_before = {
            number: accessed_before[cause.rule]
            for number, cause in enumerate(plan.causes if accessed_before else ())
            if cause.rule in accessed_before
        }
        self._members = members
        self._act = act
        moving = frozenset[int]() if act is None else act.rules
        self._moved = frozenset(number for number, cause in enumerate(plan.causes) if cause.rule in moving)
        """Causes of the files that go by `act`."""
        self._emptied = EmptiedDirectories(root, tally, audit, stop, start, rules)
        of_directories = frozenset(number for number, rule in enumerate(rules) if rule.item_type == "Directory")
        self._of_directories = of_directories
        empties = any(rule.remove_empty_directories != "Never" for rule in rules)
        if of_directories or empties:
            self._processes = 1
        self._directories: list[DirectoryRemoval] = []
        self._watched: Collection[bytes] | None = tally.sampled_to_go
        """Of what the tally is to know whether it went; None, in a dry run: of all that would stay."""

        def remover() -> Remover:
            outcomes = Outcomes(
                root,
                tally,
                members,
                plan.links,
                audited=audit.on,
                looks=self._looks,
                emptied=(lambda name, cause: self._emptied.note(name, plan.causes[cause].rule)) if empties else None,
                watched=self._watched,
            )
            directories = None
            if of_directories:
                directories = DirectoryRemoval(
                    root,
                    tally,
                    outcomes,
                    stop,
                    rules,
                    plan,
                    run,
                    now_ns=now_ns,
                    open_files=open_files,
                    rehearsed=REHEARSED,
                    act=act,
                )
                self._directories.append(directories)
            return Remover(
                root,
                outcomes,
                stop,
                Leases() if self._looks else None,
                strict=open_files == "Strict",
                accessed_before=read_before,
                act=act,
                moved=self._moved,
                directories=directories,
            )

        self._remover = remover

    def rehearse(self) -> None:
        """Count what would be removed, and write it to the audit. Changes no file.

        The openers of the first `REHEARSED` files are looked for, each for a moment.
        """
        self._watched = None
        with breaks_ignored():
            self._work_through(
                REHEARSED, lambda remover, batch, job: remover.rehearsal.rehearse(batch, job.looked_at), dry=True
            )
        self._audit.flush()

    def carry_out(self) -> None:
        """Remove the files of the plan, until all are gone or the run must stop. Raises `AuditLost`."""
        free_before, done_before = self._free(), self._tally.done
        try:
            with breaks_ignored():
                size = BATCH if self._gauge is None else min(BATCH, self._gauge.stage)
                size = size if self._pace is None else min(size, self._pace.step)
                self._work_through(
                    size, lambda remover, batch, job: remover.carry_out(batch, has_lock=job.has_lock), dry=False
                )
                self._emptied.remove()
            self._audit.flush()
        finally:
            for directories in self._directories:
                directories.close()
            freed = self._free() - free_before
            self._tally_openers(done_before)
            # Others write to the volume too. What is less free than before tells nothing about this run.
            self._tally.freed_on_disk = freed if freed >= 0 else None

    def _work_through(self, size: int, perform: Perform, *, dry: bool) -> None:
        """Have the plan worked on, `size` files at a time."""
        looked_at = REHEARSED if dry else 0
        acting = Acting(
            self._root,
            self._plan,
            self._tally,
            self._stop,
            self._processes,
            self._remover,
            perform,
            self._audit.files,
            locks=not dry and self._processes > 1,
        )
        with acting:
            try:
                for cut in cuts(self._plan, size, shared=self._processes > 1):
                    if not dry and self._pace is not None:
                        self._pace.spend(files(cut))
                    if acting.must_end:
                        break
                    if not dry and self._audit.on:
                        batch = acting.batch(cut)
                        self._audit.intent(*ends(batch), length(batch))
                    if not dry and self._act is not None:
                        self._act.prepare(list(self._going(acting.batch(cut))))
                    if dry and not looked_at and self._needs_only_counts:
                        self._count_from(cut[0], acting)
                        break
                    acting.take(cut, self._audit.stamp, looked_at, tells=self._audit.has_room)
                    if not dry and self._is_enough(files(cut)):
                        break
                    looked_at = max(0, looked_at - files(cut))
            finally:
                # Also when the audit is lost: what the others have begun they finish, and it counts.
                acting.conclude()

    @property
    def _needs_only_counts(self) -> bool:
        """Whether a dry run has nothing to say any more about single files."""
        return not (self._audit.on and self._audit.has_room) and not self._moved and not self._directories

    def _count_from(self, first: Slice, acting: Acting) -> None:
        """Count what would be removed from a slice on, reading only parts where it takes more than sums."""
        for number in range(first.part, len(self._plan.parts)):
            if acting.must_end:
                return
            part, begin = self._plan.parts[number], first.begin if number == first.part else 0
            if begin or part.linked:
                acting.take([Slice(number, begin, part.length)], self._audit.stamp, 0, tells=False)
                continue
            self._tally.removed += part.length
            self._tally.bytes_freed += part.allocated
            if self._looks:
                self._tally.use[Use.NOT_LOOKED_AT] += part.length
            self._audit.files("", {"wouldRemove": part.length})

    def _is_enough(self, handled: int) -> bool:
        """Whether the volume is as empty as wanted, or gets no emptier."""
        return self._gauge is not None and self._gauge.enough(handled, self._tally)

    def _going(self, batch: Batch) -> Iterator[Going]:
        """The items of a batch that go by the act."""
        for directory, records in batch:
            columns = (records.cause, records.size, records.allocated, records.inode, records.modified)
            for name, cause, size, allocated, inode, modified in zip(records.names, *columns, strict=True):
                if cause in self._moved:
                    identity = f'"size":{size},"bytes":{allocated},"inode":{inode},"mtimeNs":{modified}'
                    kind = ',"itemType":"Directory"' if self._plan.causes[cause].rule in self._of_directories else ""
                    yield Going(directory, name, f"{self._members(cause)},{identity}{kind}")

    def _tally_openers(self, done_before: int) -> None:
        """Count the removed files without openers: all but those that were counted one by one.

        And but for `done_before`, what an earlier run had left to be finished, which is not of this plan.
        """
        use = self._tally.use
        if not self._looks:
            use.clear()
        else:
            stayed = self._tally.stayed[Fault.UNKNOWN_USE]
            counted = use[Use.UNKNOWN] - stayed + use[Use.OPENED_MEANWHILE]
            use[Use.NOT_OPEN] = self._tally.done - done_before - counted

    def _free(self) -> int:
        stat = os.fstatvfs(self._root.fd)
        return stat.f_bfree * stat.f_frsize
