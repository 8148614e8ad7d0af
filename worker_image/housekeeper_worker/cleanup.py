"""One clean-up: scan → select → decide → brakes → act → report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii

from housekeeper_api.result import Result, as_dict
from housekeeper_api.task import Cleanup, Task, TaskError
from housekeeper_worker import report
from housekeeper_worker.audit import Audit
from housekeeper_worker.audit.destination import start_members
from housekeeper_worker.crew.size import processes
from housekeeper_worker.errors import AuditLost
from housekeeper_worker.judgement import Judge
from housekeeper_worker.logs import log, timestamp
from housekeeper_worker.preparation import check_clock, check_marker, without_marker
from housekeeper_worker.quarantine.acting import moving, purge
from housekeeper_worker.quarantine.moving import Moving
from housekeeper_worker.relief import Relief
from housekeeper_worker.retention.candidates import Candidates
from housekeeper_worker.retention.decide import ALWAYS, Lines, Verdict
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.select import Selector
from housekeeper_worker.retention.sizes import size_bounds
from housekeeper_worker.retention.times import cutoff, read_age, zone
from housekeeper_worker.scratch import Scratch
from housekeeper_worker.stop import Stop
from housekeeper_worker.survey import OnDecision, Survey
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume import item_times
from housekeeper_worker.volume.faults import Fault
from housekeeper_worker.volume.locking import wait_for_root
from housekeeper_worker.volume.protected import marker_of
from housekeeper_worker.volume.recovery import recover
from housekeeper_worker.volume.removal import Removal
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.start import check_start, start_path

_SECOND = 1_000_000_000
_DONE = frozenset({"Succeeded", "PartiallySucceeded"})
"""Outcomes that no further attempt follows."""


def clean(
    task: Task,
    what: Cleanup,
    *,
    now_ns: int,
    stop: Stop,
    audit: Audit,
    on_decision: OnDecision | None = None,
    on_stay: Callable[[bytes, Fault], None] | None = None,
    prefer_fallback: bool = False,
    at_once: bool = False,
) -> Result:
    """Carry out the clean-up `what` of `task`.

    `now_ns` is the one clock reading that every decision of the run is made with. In a dry run nothing is opened for
    writing. `at_once`: other processes help however little there is to do. Raises `TaskError` and `CouldNotRun` before
    anything was touched.
    """
    began = time.monotonic()
    dry_run = task.mode == "DryRun"
    check_clock(what.state, now_ns)
    what = without_marker(what)
    selector = Selector(what.rules)
    each = lines(task, what, now_ns)
    settle = span(what.settle_seconds)
    together = candidates(task, what, each)
    start = start_path(what.path)
    team = processes(what.processes)
    with contextlib.ExitStack() as stores, VolumeRoot.open(what.root, prefer_fallback=prefer_fallback) as root:
        scratch = stores.enter_context(contextlib.closing(Scratch()))
        check_start(root, start)
        item_times.check_access_times(root.fd, what.rules)
        root.exclusive = not dry_run
        waited = wait_for_root(
            root.fd,
            exclusive=root.exclusive,
            stop=stop,
            on_wait=lambda: log("info", "another worker is at this volume: waiting", root=what.root),
        )
        if waited is None:
            log("warning", "this file system has no locks on directories: nothing keeps two workers apart here")
        check_marker(root, what.expect_marker)
        judge = Judge(task, what, root, now_ns)
        log("info", "scanning", root=what.root, path=what.path, mode=task.mode, directoriesOpenedBy=root.method)
        audit.event("start", **start_members(task, now_ns), directoriesOpenedBy=root.method)
        ages = [rule.remove_older_than for rule in what.rules]
        relief = (
            None
            if what.pressure is None
            else Relief(what.pressure, root, what.open_files, stop, audit, on_decision, what.rules)
        )
        survey = Survey(
            root,
            selector,
            each,
            ages,
            together,
            settle,
            now_ns,
            stop,
            on_decision if relief is None else relief.on_decision,
            scratch,
            team,
            sizes=size_bounds(what.rules),
            times=item_times.readers(what.rules),
            at_once=at_once,
            rules=what.rules,
            operations_per_second=what.operations_per_second,
        )
        stores.callback(survey.close)
        plan, tally = survey.plan, survey.tally
        digest = ""
        held = lost = None
        approved = looked_through = False
        act: Moving | None = None
        try:
            rests = not dry_run and _rests(root, tally)
            # Whoever was stopped while it waited has no lock: what lies there is perhaps another worker's, and at work.
            if not dry_run and not rests and stop.reason is None:
                recover(root, task.run, tally, audit, stop, now_ns=now_ns)
            survey.run(start)
            complete = looked_through = stop.reason is None and not tally.stopped_by_fault
            if relief is not None:
                plan = relief.narrow(plan, tally, together, complete=complete)
                complete = complete and stop.reason is None
            if complete:
                plan, digest, held, approved = judge.judge(plan, tally, together, _rules_bytes(what, task.time_zone))
            if held is not None:
                tally.held = len(plan)
                stored = tally.plan_stored
                audit.event("held", planned=len(plan), selected=tally.matched, planDigest=digest, stored=stored)
                if relief is not None:
                    relief.conclude(tally, planned=len(plan), dry_run=True)
            elif complete:
                act = moving(task, what, root, now_ns)
                removal = Removal(
                    root,
                    plan,
                    tally,
                    audit,
                    stop,
                    _audit_members(plan, what),
                    what.open_files,
                    team,
                    accessed_before=item_times.access_lines(what.rules, [line.old_before for line in each]),
                    gauge=None if relief is None else relief.gauge,
                    act=act if act.rules else None,
                    at_once=at_once,
                    rules=what.rules,
                    run=task.run,
                    now_ns=now_ns,
                    start=start,
                    operations_per_second=what.operations_per_second,
                )
                if dry_run:
                    removal.rehearse()
                    if on_stay is not None:
                        for path, fault in tally.let_stay:
                            on_stay(path, fault)
                else:
                    with act:
                        removal.carry_out()
                    if approved and stop.reason is None and not tally.stopped_by_fault:
                        judge.look_for_rest()
                    if not rests:
                        purge(task, what, root, act.name, now_ns, tally, audit, stop)
                if relief is not None:
                    relief.conclude(tally, planned=len(plan), dry_run=dry_run)
        except AuditLost as error:
            lost = audit.loss() or str(error)
        if act is not None and tally.quarantined and not dry_run:
            tally.restorable_until = act.restorable_until
        if held is None or what.brakes.on_trip == "Fail":
            # What waits for approval is shown as it is planned. All else says what became of it.
            stopped = lost is not None or stop.reason is not None
            report.correct_samples(tally, dry_run=dry_run, stopped=stopped, tripped=held is not None)
        outcome = report.cleanup_outcome(tally, stop=stop.reason, held=held, lost=lost, on_trip=what.brakes.on_trip)
        planned = len(plan) + tally.verdicts[Verdict.SPARED]
        advice = report.settling_advice(tally, planned=planned, settle=settle, fs_group=what.fs_group)
        message = report.cleanup_message(
            tally,
            outcome=outcome,
            dry_run=dry_run,
            planned=len(plan),
            timeout=task.timeout_seconds,
            held=held,
            lost=lost,
            advice=advice or report.glob_advice(tally, what.path, what.rules, complete=looked_through),
            waited=waited or 0.0,
        )
        result = report.cleanup_result(
            tally,
            outcome=outcome,
            message=message,
            mode=task.mode,
            seconds=time.monotonic() - began,
            digest=digest,
            now=f"{timestamp(now_ns)[:19]}Z",
        )
        log(
            "info",
            message,
            outcome=outcome,
            directories=tally.directories,
            mountsNotEntered=tally.mounts,
            linksAndSpecialFiles=tally.others,
        )
        result = _summarised(result, audit)
        if approved and not dry_run and result.outcome in _DONE:
            # Last of all: a worker that is killed before can go on with it.
            judge.forget_approved()
    return result


def _rests(root: VolumeRoot, tally: Tally) -> bool:
    """Whether a marker at the root says that nothing is to go here, of what earlier runs set aside neither."""
    try:
        marked = marker_of(root.fd) is not None
    except OSError:
        return False  # whoever may not look there finds that out on the walk, and tells it
    if marked:
        tally.add_note("there is a .nocleanup at the volume's root: what earlier runs set aside is left alone, too")
    return marked


def _summarised(result: Result, audit: Audit) -> Result:
    """Close the audit with the numbers of the result. What was done stays done if that fails; the result says so.

    The result then tells where the audit is and its head, which the audit itself cannot know.
    """
    result = report.with_notes(result, audit.notes)
    try:
        audit.event("summary", result=as_dict(result))
    except AuditLost as error:
        log("error", str(error))
        result = report.failure_of(result, str(error))
    return report.with_audit(result, audit.report())


def lines(task: Task, what: Cleanup, now_ns: int) -> list[Lines]:
    """For each rule the lines of a run at `now_ns`. Raises `TaskError`."""
    tz = zone(task.time_zone)
    settled_until = now_ns - int(what.settle_seconds * _SECOND)
    return [
        Lines(ALWAYS if age is None else cutoff(now_ns, read_age(age), tz), settled_until)
        for age in (rule.remove_older_than for rule in what.rules)
    ]


def candidates(task: Task, what: Cleanup, each: Sequence[Lines], *, every_rule: bool = False) -> dict[int, Candidates]:
    """For each rule that must know all its items before it decides, by number, where they gather.

    Or for every rule, as it is asked. Raises `TaskError`.
    """
    found = {}
    for number, rule in enumerate(what.rules):
        if rule.keep is None and rule.remove_older_than is None:
            raise TaskError(f"task.cleanup.rules[{number}]: neither keep nor removeOlderThan is set")
        by_group = rule.keep is not None or rule.keep_per_group or rule.group_by is not None
        if every_rule or by_group or rule.time.source != "ModificationTime":
            found[number] = Candidates(number, rule, each[number], zone(task.time_zone), span(what.settle_seconds))
    return found


def _audit_members(plan: Plan, what: Cleanup) -> Callable[[int], str]:
    """For each cause of the plan, what an audit line says of it."""

    @functools.lru_cache(maxsize=1024)
    def members(number: int) -> str:
        cause = plan.causes[number]
        group = f'"group":{json.dumps(cause.group)},' if cause.group else ""
        return (
            f'"rule":{encode_basestring_ascii(what.rules[cause.rule].name)},{group}'
            f'"reason":{encode_basestring_ascii(", ".join(cause.reasons))}'
        )

    return members


def _rules_bytes(what: Cleanup, time_zone: str) -> bytes:
    """All that decides, for the plan's digest."""
    rules = [dataclasses.asdict(rule) for rule in what.rules]
    return json.dumps(
        [rules, what.path, what.settle_seconds, time_zone], separators=(",", ":"), sort_keys=True
    ).encode()


def span(seconds: float) -> str:
    """A span of time as a policy would write it: `10m`, `1h`, `90s`."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
