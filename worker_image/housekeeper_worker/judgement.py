"""Whether a whole plan may be carried out: by its brakes, or by an approval, which stands in their place."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from housekeeper_api.result import PLAN_DIGEST
from housekeeper_api.task import Cleanup, Task, TaskError
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.held import place
from housekeeper_worker.held.approval import Approval, approved
from housekeeper_worker.held.births import BirthTimes
from housekeeper_worker.held.plan_file import DamagedPlan, Header
from housekeeper_worker.held.remainder import passing, still_there
from housekeeper_worker.logs import log
from housekeeper_worker.retention import brakes
from housekeeper_worker.retention.candidates import Candidates
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.identity import file_system_of
from housekeeper_worker.volume.protected import Protection
from housekeeper_worker.volume.root import VolumeRoot

_NOT_APPROVED: Final = "notApproved: it is not in the plan that was approved, or is another file by now"


class Judgement(NamedTuple):
    """What becomes of a plan."""

    plan: Plan
    """What may be carried out."""
    digest: str
    held: str | None
    """Why nothing may, as a sentence."""
    approved: bool
    """Whether it is carried out because a person approved it."""


class Judge:
    """Judges the plan of one run. Raises `TaskError` for an approval that is none."""

    def __init__(self, task: Task, what: Cleanup, root: VolumeRoot, now_ns: int) -> None:
        if what.approve is not None and not PLAN_DIGEST.fullmatch(what.approve):
            raise TaskError(
                f"task.cleanup.approve: {what.approve!r} is no digest: write sha256: and 64 hexadecimal digits"
            )
        self._task = task
        self._what = what
        self._root = root
        self._tally = Tally()
        self._now = now_ns
        self._dry_run = task.mode == "DryRun"
        self._file_system = str(file_system_of(root.fd))

    def judge(self, plan: Plan, tally: Tally, together: Mapping[int, Candidates], rules: bytes) -> Judgement:
        """The judgement about a whole plan. `together` and `rules`: groups, and what decided, for the digest."""
        what, self._tally = self._what, tally
        tally.planned, tally.planned_bytes = len(plan), plan.bytes_to_free()
        clauses: list[str] = []
        if what.approve is not None:
            with BirthTimes(self._root) as births:
                found = approved(
                    self._task, what, self._root, plan, births.of, file_system=self._file_system, now_ns=self._now
                )
            if isinstance(found, Approval):
                return self._narrowed(found, what.approve)
            if len(plan):
                clauses.append(f"the approved plan {found.why}; this is another")
            else:
                tally.add_note(f"the approved plan {found.why}; nothing is left to do")
                if self._task.attempt > 1:
                    # An earlier attempt may have ended with all of it done, and without a word.
                    return Judgement(plan, what.approve, None, approved=True)
        marked = not tally.directories and bool(tally.protected[Protection.MARKED])
        numbers = brakes.Numbers(tally.scanned, tally.matched, tally.planned, tally.planned_bytes, tally.not_counting)
        numbers = numbers._replace(passed_by=tally.passed_by, marked=marked)
        clauses += brakes.tripped(what.brakes, numbers, what.state)
        clauses += brakes.emptying((what.rules[number].name, one) for number, one in together.items())
        if note := brakes.off_for_want_of_runs(what.state):
            tally.add_note(note)
        stored = self._store(plan, clauses) if self._is_to_be_stored(clauses) else None
        self._sweep()
        digest = stored or plan.digest(rules, self._now, os.fstatvfs(self._root.fd).f_fsid)
        if not clauses:
            return Judgement(plan, digest, None, approved=False)
        of_quarantine = [number for number, rule in enumerate(what.rules) if rule.action == "Quarantine"]
        numbers = numbers._replace(quarantined=plan.count_of(of_quarantine))
        approve = f"; to carry out exactly this, approve {stored}" if stored else ""
        return Judgement(plan, digest, brakes.sentence(numbers, clauses, approve), approved=False)

    def _narrowed(self, approval: Approval, digest: str) -> Judgement:
        narrowed, tally = approval.plan, self._tally
        tally.not_approved = tally.planned - len(narrowed)
        tally.keep_samples(dict.fromkeys(tally.sampled_to_go - narrowed.among(tally.sampled_to_go), _NOT_APPROVED))
        if approval.refused:
            tally.add_note(
                f"{approval.refused} of the approved files were to be quarantined and would be removed by now: they "
                "stay until that is approved"
            )
        if stay := approval.items - len(narrowed) - approval.refused:
            tally.add_note(
                f"of {approval.items} approved files {stay} stay: they are gone, have changed, or are kept by now"
            )
        return Judgement(narrowed, digest, None, approved=True)

    def _is_to_be_stored(self, clauses: list[str]) -> bool:
        what = self._what
        if clauses and what.brakes.on_trip == "Fail":
            return False
        if self._dry_run and what.report is None:
            if clauses:
                self._tally.add_note("the plan of a dry run is stored, and can be approved, only on a report volume")
            return False
        return bool(clauses) or (self._dry_run and self._tally.planned > 0)

    def _store(self, plan: Plan, clauses: list[str]) -> str | None:
        """Store the plan and return its digest; None where that cannot be, and a note says why."""
        task, what, tally = self._task, self._what, self._tally
        if self._file_system == "none:":
            tally.add_note("the plan is not stored: this file system has no identity by which it could be known again")
            return None
        header = Header(
            namespace=task.namespace,
            policy=task.policy,
            run=task.run,
            attempt=task.attempt,
            mode=task.mode,
            path=what.path,
            time_zone=task.time_zone,
            now_ns=self._now,
            hold_seconds=what.hold_seconds,
            file_system=self._file_system,
            items=len(plan),
            bytes=tally.planned_bytes,
            held=tuple(clauses),
            rules=tuple(dataclasses.asdict(rule) for rule in what.rules),
        )
        try:
            with (
                place.plans_directory(task, what, self._root, create=True) as directory,
                BirthTimes(self._root) as births,
            ):
                place.sweep(directory, task, what, self._now, room_for=1)
                name = place.store(directory, header, plan, births.of)
        except (OSError, CouldNotRun) as error:
            tally.add_note(f"the plan could not be stored, so it cannot be approved: {place.why_not(error)}")
            return None
        tally.plan_stored = place.shown_place(task, what, name)
        return f"sha256:{name}"

    def _sweep(self) -> None:
        """Remove expired plans, in a run that may write where they lie."""
        for where in place.places(self._what):
            if self._dry_run and where.report is None:
                continue
            try:
                with place.plans_directory(self._task, where, self._root, create=False) as directory:
                    gone = place.sweep(directory, self._task, where, self._now)
            except FileNotFoundError:
                continue
            except (OSError, CouldNotRun) as error:
                log("warning", "expired plans could not be looked for", error=place.why_not(error))
                continue
            if gone:
                log("info", "removed expired plans", plans=gone)

    def look_for_rest(self) -> None:
        """After an approved plan was carried out: keep it, and say so, if some of it stays for a reason that passes."""
        reasons = passing(self._tally.skipped(), self._tally.faults)
        left = self._left_of_approved() if reasons else 0
        if left:
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
            self._tally.approval = (
                f"{left} approved files stay for what may pass ({told}), so the plan is kept: approve it once more"
            )

    def _left_of_approved(self) -> int:
        name = (self._what.approve or "").removeprefix("sha256:")
        for where in place.places(self._what):
            with (
                contextlib.suppress(OSError, CouldNotRun, DamagedPlan),
                place.plans_directory(self._task, where, self._root, create=False) as directory,
                place.opened(directory, name) as stored,
            ):
                return still_there(self._root, stored.records())
        return 0

    def forget_approved(self) -> None:
        """Remove the stored plan that was approved, unless it is to be kept: it is carried out."""
        if self._tally.approval:
            return
        name = (self._what.approve or "").removeprefix("sha256:")
        try:
            for where in place.places(self._what):
                with (
                    contextlib.suppress(FileNotFoundError),
                    place.plans_directory(self._task, where, self._root, create=False) as directory,
                ):
                    place.forget(directory, name)
        except (OSError, CouldNotRun) as error:
            log("warning", "the plan was carried out, but its file could not be removed", error=place.why_not(error))
