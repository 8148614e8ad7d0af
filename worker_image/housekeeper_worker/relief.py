"""Pressure in a run: how full the volume is, what of the plan goes for it, and what came of that, in words."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress

from housekeeper_api.quantities import format_bytes
from housekeeper_api.task import OpenFiles, Pressure, Rule
from housekeeper_worker.audit import Audit
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.retention.candidates import Candidates
from housekeeper_worker.retention.decide import Decided, Verdict, decision
from housekeeper_worker.retention.groups import words
from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.pressure import (
    Aged,
    Fill,
    Level,
    Need,
    Prefix,
    arranged,
    by_age,
    located,
    need,
    shortest_prefix,
    stage_length,
)
from housekeeper_worker.stop import Stop
from housekeeper_worker.survey import OnDecision
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.lease import Leases, Use, breaks_ignored
from housekeeper_worker.volume.pressure import Gauge, fill_of_file_system, usage_below
from housekeeper_worker.volume.removal import BATCH, REHEARSED
from housekeeper_worker.volume.root import VolumeRoot


class Relief:
    """The pressure of one run. Raises `CouldNotRun` where it could not be told how full the volume is."""

    def __init__(
        self,
        pressure: Pressure,
        root: VolumeRoot,
        open_files: OpenFiles,
        stop: Stop,
        audit: Audit,
        on_decision: OnDecision | None,
        rules: Sequence[Rule] = (),
    ) -> None:
        """`rules`: of the run, which say what is a file and what a directory."""
        if pressure.of == "Claim" and not pressure.capacity_bytes:
            raise CouldNotRun(
                "spec.pressure is of the claim, and nobody knows how large that is: it is in status.capacity of the "
                "PersistentVolumeClaim once it is bound; outside a cluster give --capacity"
            )
        self.gauge: Gauge | None = None
        """While files go; None if none needs to."""
        self._pressure = pressure
        self._root = root
        self._open_files = open_files
        self._stop = stop
        self._audit = audit
        self._on_decision = on_decision
        self._of_directories = frozenset(number for number, rule in enumerate(rules) if rule.item_type == "Directory")
        self._waiting: list[Decided] = []
        self._before = Fill(Level(0, 0), Level(0, 0))
        self._need: Need | None = None
        self._prefix: Prefix | None = None
        self._leases = Leases()

    @property
    def on_decision(self) -> OnDecision | None:
        """What the survey is to tell its decisions; None if nobody listens."""
        return None if self._on_decision is None else self._hear

    def _hear(self, decided: Decided) -> None:
        """Pass a decision on, but for what is to go: which of that need not go is not known yet."""
        if decided.verdict is Verdict.REMOVE:
            self._waiting.append(decided)
        elif self._on_decision is not None:
            self._on_decision(decided)

    def narrow(self, plan: Plan, tally: Tally, together: Mapping[int, Candidates], *, complete: bool) -> Plan:
        """Of the plan what goes. `complete`: the survey was not broken off; else nothing will, and nothing is measured.

        What need not go is counted as spared, and no longer empties a group of `together`.
        """
        if not complete:
            self._pass_on(None, "")
            return plan
        self._before = self._measure(tally)
        self._need = need(self._pressure, self._before)
        going = bytearray(len(plan))
        narrowed = Plan()
        if self._need is not None:
            aged = by_age(plan, together)
            self._prefix = self._enough(plan, aged, self._need)
            for index in self._prefix.order:
                going[index] = 1
            stage = stage_length(len(self._prefix.order), BATCH)
            narrowed = arranged(plan, aged, self._prefix.order, stage)
            self.gauge = Gauge(
                self._root.fd, self._pressure, self._before, self._need, stage, self._stop, tally.bytes_freed
            )
        self._spare(plan, going, tally, together)
        self._audit.event(
            "pressure",
            of=self._pressure.of,
            bytes=self._before.size,
            inodes=self._before.inodes,
            wanted=self._need or (0, 0),
            planned=len(narrowed),
            spared=going.count(0),
        )
        return narrowed

    def _measure(self, tally: Tally) -> Fill:
        if self._pressure.of == "FileSystem":
            return fill_of_file_system(self._root.fd)
        usage = usage_below(self._root, self._stop)
        if usage.unreadable:
            tally.add_note(
                f"{usage.unreadable} directories could not be read: the claim is fuller than pressure takes it to be"
            )
        return Fill(Level(usage.allocated, self._pressure.capacity_bytes or 0), Level(0, 0))

    def _enough(self, plan: Plan, aged: Aged, wanted: Need) -> Prefix:
        """The part of the plan that is enough without the files that are open, as far as is known."""
        stays: set[int] = set()
        looked_at = 0
        with breaks_ignored():
            while True:
                prefix = shortest_prefix(aged, wanted, stays)
                candidates = prefix.order[looked_at:REHEARSED]
                if not candidates or self._open_files == "Ignore" or self._stop.reason is not None:
                    return prefix
                stays.update(self._open_among(plan, located(plan, aged, candidates)))
                looked_at += len(candidates)

    def _open_among(self, plan: Plan, files: Iterable[tuple[int, bytes, bytes, int, int]]) -> Iterator[int]:
        """Indices of files that will stay because they are open.

        Not of directories, of which no lease tells anything: the removal looks into them.
        """
        stay = {Use.OPEN, Use.UNKNOWN} if self._open_files == "Strict" else {Use.OPEN}
        for index, directory, name, device, cause in files:
            if plan.causes[cause].rule in self._of_directories:
                continue
            # What is gone or has changed the removal will find out too.
            with contextlib.suppress(OSError), self._root.directory(directory, for_reading=False) as fd:
                if self._leases.look(fd, name, device) in stay:
                    yield index

    def _spare(self, plan: Plan, going: bytearray, tally: Tally, together: Mapping[int, Candidates]) -> None:
        """Take note of what does not go."""
        tally.spare(going.count(0))
        if self._need is None:
            for one in together.values():
                one.emptied.clear()
            why = f"spared: the volume is not fuller than {self._pressure.high_percent} %"
        else:
            why = f"spared: what is older brings the volume to {self._pressure.low_percent} %"
        shown = set(tally.sample_paths)
        removed: set[bytes] = set()
        first = 0
        for part in plan.parts if any(going) else ():
            marks = going[first : first + part.length]
            first += part.length
            records = plan.records(part)
            for number in set(compress(records.cause, map(operator.not_, marks))):
                cause = plan.causes[number]
                if cause.rule in together:
                    together[cause.rule].emptied.discard(words(cause.group))
            paths = (join(part.directory, name) for name in compress(records.names, marks))
            removed.update(paths if self._waiting else shown.intersection(paths))
        for path, sample in zip(tally.sample_paths, tally.sample, strict=True):
            if sample["decision"] == "Remove" and path not in removed:
                sample.update(decision=decision(Verdict.SPARED), reason=f"{why}; {sample['reason']}")
        self._pass_on(removed, why)

    def _pass_on(self, going: set[bytes] | None, why: str) -> None:
        """Tell the decisions that waited. `going`: paths of what goes; None: all of it."""
        for one in self._waiting:
            if self._on_decision is not None:
                stays = going is not None and one.path not in going
                self._on_decision(one._replace(verdict=Verdict.SPARED, reasons=(why, *one.reasons)) if stays else one)
        self._waiting.clear()

    def conclude(self, tally: Tally, *, planned: int, dry_run: bool) -> None:
        """After the removal or its rehearsal: say how full the volume is, and count what was spared on the way.

        `planned`: files that were to go, of which an approval may have left fewer.
        """
        before, low = _words(self._before, self._need), self._pressure.low_percent
        volume = "the claim" if self._pressure.of == "Claim" else "the file system"
        if self._need is None or self._prefix is None or self.gauge is None:
            tally.pressure = f"{volume} is {before}, not above pressure.highPercent {self._pressure.high_percent}"
            return
        if dry_run:
            after = Fill(self._before.size.without(self._prefix.size), self._before.inodes.without(self._prefix.inodes))
            tally.pressure = f"{volume} is {before}, and without these files {_words(after, self._need)}"
            if not self._prefix.reaches:
                tally.pressure += f", still above pressure.lowPercent {low}: the rules let no more go"
            return
        gauge = self.gauge
        broken_off = self._stop.reason is not None or bool(tally.stopped_by_fault)
        gauge.look_at_the_end(tally, all_gone=self._prefix.reaches and not gauge.stalled and not broken_off)
        tally.pressure = f"{volume} was {before} and is {_words(gauge.fill, self._need)}"
        if broken_off:
            return
        spared = planned - gauge.handled
        tally.spare(spared)
        if spared:
            self._audit.event("spared", count=spared, reason="stalled" if gauge.stalled else "low")
        if gauge.is_low():
            return
        tally.stalled = gauge.stalled
        tally.pressure += (
            f", above pressure.lowPercent {low}: wanted {self._wanted()}, freed {self._freed(gauge, tally)}"
        )
        if gauge.stalled:
            tally.pressure += (
                f"; the volume does not get emptier{f', so {spared} files stay' if spared else ''}: what went is still "
                "open somewhere, or shares its blocks with snapshots or copies"
            )
        elif stayed := tally.stayed.total():
            tally.pressure += f"; {stayed} planned files stayed"
        elif tally.not_approved:
            tally.pressure += f"; {tally.not_approved} more that would go today are not approved"
        elif not self._prefix.reaches:
            tally.pressure += "; the rules let no more go"
        else:
            tally.pressure += "; somebody fills it meanwhile, or what went shares its blocks with snapshots or copies"

    def _wanted(self) -> str:
        size, inodes = self._need or (0, 0)
        parts = [format_bytes(size)] if size else []
        return " and ".join([*parts, f"{inodes} inodes"] if inodes else parts)

    def _freed(self, gauge: Gauge, tally: Tally) -> str:
        size = gauge.estimated(tally) if self._pressure.of == "Claim" else max(0, gauge.freed)
        parts = [format_bytes(size)] if self._need is None or self._need.size else []
        freed = max(0, self._before.inodes.used - gauge.fill.inodes.used)
        return " and ".join([*parts, f"{freed} inodes"] if self._need is not None and self._need.inodes else parts)


def _words(fill: Fill, wanted: Need | None) -> str:
    full = f"{fill.size} full"
    return f"{full} with {fill.inodes} of its inodes used" if wanted is not None and wanted.inodes else full
