"""One clean-up: scan → select → decide → brakes → act → report."""

from __future__ import annotations

import json
import os
import time
from json.encoder import encode_basestring_ascii

from housekeeper_api.result import Result, as_dict
from housekeeper_api.task import Cleanup, Task
from housekeeper_worker import report
from housekeeper_worker.audit import Audit
from housekeeper_worker.errors import AuditLost
from housekeeper_worker.logs import log, timestamp
from housekeeper_worker.retention import brakes
from housekeeper_worker.retention.decide import Lines, Verdict, reason
from housekeeper_worker.retention.select import Selector
from housekeeper_worker.retention.times import cutoff, read_age, zone
from housekeeper_worker.stop import Stop
from housekeeper_worker.survey import OnDecision, Survey
from housekeeper_worker.volume.removal import Removal
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.start import check_start, start_path

_SECOND = 1_000_000_000


def clean(
    task: Task,
    what: Cleanup,
    *,
    now_ns: int,
    stop: Stop,
    audit: Audit,
    on_decision: OnDecision | None = None,
    prefer_fallback: bool = False,
) -> Result:
    """Carry out the clean-up `what` of `task`.

    `now_ns` is the one clock reading that every decision of the run is made with. In a dry run nothing is opened for
    writing. Raises `TaskError` and `CouldNotRun` before anything was touched.
    """
    began = time.monotonic()
    dry_run = task.mode == "DryRun"
    selector = Selector(what.rules)
    lines = _lines(task, what, now_ns)
    settle = span(what.settle_seconds)
    start = start_path(what.path)
    with VolumeRoot.open(what.root, prefer_fallback=prefer_fallback) as root:
        check_start(root, start)
        log("info", "scanning", root=what.root, path=what.path, mode=task.mode, directoriesOpenedBy=root.method)
        audit.event("start", mode=task.mode, now=timestamp(now_ns), directoriesOpenedBy=root.method)
        ages = [rule.remove_older_than for rule in what.rules]
        survey = Survey(root, selector, lines, ages, settle, now_ns, stop, on_decision)
        survey.run(start)
        plan, tally = survey.plan, survey.tally
        digest = ""
        held = lost = None
        complete = stop.reason is None and not tally.stopped_by_fault
        if complete:
            digest = plan.digest(_rules_bytes(what, task.time_zone), now_ns, os.fstatvfs(root.fd).f_fsid)
            held = brakes.tripped(what.brakes, planned=len(plan), selected=tally.matched)
        if held is not None:
            tally.held = len(plan)
            audit.event("held", planned=len(plan), selected=tally.matched, planDigest=digest)
        elif complete:
            members = [
                f'"rule":{encode_basestring_ascii(rule.name)},'
                f'"reason":{encode_basestring_ascii(reason(Verdict.REMOVE, rule.remove_older_than, settle))}'
                for rule in what.rules
            ]
            removal = Removal(root, plan, tally, audit, stop, members)
            try:
                if dry_run:
                    removal.rehearse()
                else:
                    removal.carry_out()
            except AuditLost as error:
                lost = str(error)
        outcome = report.cleanup_outcome(tally, stop=stop.reason, held=held, lost=lost)
        advice = report.settling_advice(tally, planned=len(plan), settle=settle, fs_group=what.fs_group)
        message = report.cleanup_message(
            tally,
            outcome=outcome,
            dry_run=dry_run,
            planned=len(plan),
            timeout=task.timeout_seconds,
            held=held,
            lost=lost,
            advice=advice or report.path_advice(tally, what.path),
        )
    result = report.cleanup_result(
        tally, outcome=outcome, message=message, mode=task.mode, seconds=time.monotonic() - began, digest=digest
    )
    log(
        "info",
        message,
        outcome=outcome,
        directories=tally.directories,
        mountsNotEntered=tally.mounts,
        linksAndSpecialFiles=tally.others,
    )
    return _summarised(result, audit)


def _summarised(result: Result, audit: Audit) -> Result:
    """Close the audit with the numbers of the result. What was done stays done if that fails; the result says so."""
    try:
        audit.event("summary", result=as_dict(result))
    except AuditLost as error:
        log("error", str(error))
        return report.failure_of(result, str(error))
    return result


def _lines(task: Task, what: Cleanup, now_ns: int) -> list[Lines]:
    tz = zone(task.time_zone)
    settled_until = now_ns - int(what.settle_seconds * _SECOND)
    return [Lines(cutoff(now_ns, read_age(rule.remove_older_than), tz), settled_until) for rule in what.rules]


def _rules_bytes(what: Cleanup, time_zone: str) -> bytes:
    """All that decides, for the plan's digest."""
    rules = [[rule.name, rule.include, rule.exclude, rule.remove_older_than] for rule in what.rules]
    return json.dumps([rules, what.path, what.settle_seconds, time_zone], separators=(",", ":")).encode()


def span(seconds: float) -> str:
    """A span of time as a policy would write it: `10m`, `1h`, `90s`."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
