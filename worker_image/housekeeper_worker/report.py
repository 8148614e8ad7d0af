"""From counters to a result: the outcome, one sentence for a person, and the exit code. Pure, but for `deliver`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Final

from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.quantities import format_bytes
from housekeeper_api.result import MAX_BYTES, AuditReport, CheckReport, Cleanup, Outcome, Result
from housekeeper_api.task import OnTrip, Rule
from housekeeper_worker.retention.decide import Verdict
from housekeeper_worker.stop import Reason
from housekeeper_worker.tally import MAX_NOTES, Tally
from housekeeper_worker.volume.faults import Fault, why_it_stays
from housekeeper_worker.volume.lease import Use

MAX_MESSAGE: Final = 512
MAX_NOTE_LENGTH: Final = 256
_NOBODY_COULD: Final = {Fault.PERMISSION, Fault.READ_ONLY}

_EXIT_CODES: Final[dict[Outcome, ExitCode]] = {
    "Succeeded": ExitCode.SUCCEEDED,
    "PartiallySucceeded": ExitCode.PARTIAL,
    "Failed": ExitCode.FAILED,
    "TimedOut": ExitCode.FAILED,
    "Cancelled": ExitCode.FAILED,
    "Held": ExitCode.HELD,
    "CouldNotRun": ExitCode.COULD_NOT_RUN,
}


def exit_code(outcome: Outcome) -> ExitCode:
    """The exit code of a worker whose attempt ended with `outcome`."""
    return _EXIT_CODES[outcome]


def cleanup_outcome(
    tally: Tally, *, stop: Reason | None, held: str | None, lost: str | None, on_trip: OnTrip = "Hold"
) -> Outcome:
    """How a clean-up ended. `held`: the sentence of the brakes; `lost`: why the audit could not be written."""
    if lost is not None:
        return "Failed"
    if stop is not None:
        return stop
    if held is not None:
        return "Held" if on_trip == "Hold" else "Failed"
    if tally.stayed and not tally.done and set(tally.stayed) <= _NOBODY_COULD:
        return "CouldNotRun"
    if tally.stopped_by_fault:
        return "Failed"
    return "PartiallySucceeded" if tally.error_count or tally.stalled else "Succeeded"


def cleanup_message(
    tally: Tally,
    *,
    outcome: Outcome,
    dry_run: bool,
    planned: int,
    timeout: float,
    held: str | None,
    lost: str | None,
    advice: str,
    waited: float = 0.0,
) -> str:
    """One sentence (or two) about a clean-up: what was done, and what to do about the rest.

    `waited`: seconds for which another worker at the same volume was waited for.
    """
    done = (
        f"{'would remove' if dry_run else 'removed'} {tally.removed} of {tally.matched} selected "
        f"{'items' if tally.directory_items else 'files'} "
        f"({format_bytes(tally.bytes_freed)}); {_quarantine(tally, dry_run=dry_run)}{tally.scanned} scanned"
    )
    parts = {
        "TimedOut": f"time was up after {timeout:g} s: {done}; raise spec.timeout, or let it go on at the next run",
        "Cancelled": f"cancelled: {done}",
        "Held": held or done,
        "Failed": held or done,
        "CouldNotRun": f"nothing could be removed, {planned} files should go",
    }
    sentences = [lost if lost is not None else parts.get(outcome, done)]
    if lost is not None:
        sentences.append(done)
    if tally.approval:
        sentences.append(tally.approval)
    if tally.pressure:
        sentences.append(tally.pressure)
    if tally.stopped_by_fault:
        sentences.append(f"stopped: {tally.stopped_by_fault}")
    if tally.error_count:
        kinds = ", ".join(f"{fault} {count}" for fault, count in sorted(tally.faults.items()))
        sentences.append(f"errors: {kinds}; {tally.errors[0]}")
    if tally.mounts:
        sentences.append(f"{tally.mounts} mount{'s' if tally.mounts > 1 else ''} below the root not entered")
    if met := tally.use[Use.OPENED_MEANWHILE]:
        sentences.append(f"{met} file{'s were' if met > 1 else ' was'} opened by somebody while it was removed")
    if waited:
        sentences.append(f"waited {waited:.1f} s for another worker at this volume")
    if advice:
        sentences.append(advice)
    return shortened("; ".join(sentences))


def _quarantine(tally: Tally, *, dry_run: bool) -> str:
    """What went into quarantine and out of it for good; empty if nothing did."""
    told = ""
    if tally.quarantined:
        verb = "would quarantine" if dry_run else "quarantined"
        until = f", to be restored until {tally.restorable_until}" if tally.restorable_until else ""
        told = f"{verb} {tally.quarantined} ({format_bytes(tally.bytes_quarantined)}{until}); "
    if tally.purged:
        told += f"purged {tally.purged} from quarantine ({format_bytes(tally.bytes_purged)}); "
    return told


def settling_advice(tally: Tally, *, planned: int, settle: str, fs_group: int | None) -> str:
    """What to do if nearly everything old looks freshly changed by its ctime alone; empty if it does not."""
    by_change_time = tally.verdicts[Verdict.SETTLING_BY_CHANGE_TIME]
    old = planned + by_change_time + tally.verdicts[Verdict.SETTLING]
    if not by_change_time or by_change_time * 10 < old * 9:
        return ""
    cause = (
        f"the pod's fsGroup {fs_group} makes the kubelet change the group of every file of a volume whose root has "
        "another group: chgrp the root once, or leave spec.pod.securityContext.fsGroup out"
        if fs_group is not None
        else "such as chown, chmod or an fsGroup of another pod does to a whole volume: wait, or lower settleTime"
    )
    return f"{by_change_time} of {old} old files had owner, mode or links changed within {settle}: {cause}"


def correct_samples(tally: Tally, *, dry_run: bool, stopped: bool, tripped: bool) -> None:
    """Let no example say of an item that it goes which this run let stay, or, in a dry run, found that would stay.

    `stopped`: the run ended before it had gone through its plan. `tripped`: a brake did that, and nothing waits.
    """
    if tripped:
        stays = dict.fromkeys(tally.sampled_to_go, "a brake tripped, so that nothing went")
    elif dry_run:
        stays = {}
    elif stopped or tally.stopped_by_fault:
        stays = dict.fromkeys(tally.sampled_to_go - tally.let_go, "the run ended before it came to this")
    else:
        why = "the volume gets no emptier" if tally.stalled else "the volume is empty enough without"
        stays = dict.fromkeys(tally.sampled_to_go - tally.let_go, f"spared: {why}")
    going = tally.sampled_to_go
    stays.update((path, why_it_stays(fault)) for path, fault in tally.let_stay if path in going)
    tally.keep_samples(stays)


def glob_advice(tally: Tally, path: str, rules: Sequence[Rule], *, complete: bool) -> str:
    """A hint for a policy whose globs take nothing although something is there; empty if there is none to give.

    `path` and `rules` are the policy's; `complete`: the volume was looked through to its end.
    """
    if not complete or tally.matched or tally.error_count or not (tally.scanned or tally.passed_by):
        return ""
    kinds = {rule.item_type for rule in rules}
    what = "nothing" if len(kinds) > 1 else "no directory" if "Directory" in kinds else "no file"
    narrow = {
        "exclude": any(rule.exclude for rule in rules),
        "groupBy": any(rule.group_by is not None for rule in rules),
        "minSize": any(rule.min_size is not None for rule in rules),
        "maxSize": any(rule.max_size is not None for rule in rules),
    }
    others = ", ".join(name for name, said in narrow.items() if said)
    by = f"selected by include, {others}" if others else "taken by include"
    if not tally.scanned and narrow["exclude"]:
        return ""  # what is there may be just what is excluded
    deeper = next(filter(None, (_at_any_depth(glob, path) for rule in rules for glob in rule.include)), "")
    if not deeper and not (tally.scanned and (path or narrow["groupBy"])):
        return ""  # nothing looks wrong: most nights there is nothing of what `tmp/**` is about
    hint = f", as in `{deeper}`" if deeper else ""
    return f"{what} is {by}: globs are over the whole path from the volume's root{hint}"


def _at_any_depth(glob: str, path: str) -> str:
    """For a glob that is a name, the same below `path` at any depth, or, without a wildcard, everything below it.

    Empty for all others: of what somebody thought who wrote directories nobody can tell.
    """
    if "/" in glob or "**" in glob:
        return ""
    begin = f"{path}/" if path else ""
    if any(character in glob for character in "*?[{\\"):
        return f"{begin}**/{glob}"
    return f"{glob}/**" if path.partition("/")[0] in {"", glob} else f"{begin}{glob}/**"


def cleanup_result(
    tally: Tally, *, outcome: Outcome, message: str, mode: str, seconds: float, digest: str, now: str
) -> Result:
    """The result of a clean-up. `now`: RFC 3339."""
    return Result(
        outcome=outcome,
        message=message,
        mode=mode,
        duration_seconds=round(seconds, 3),
        cleanup=Cleanup(
            scanned=tally.scanned,
            matched=tally.matched,
            removed=tally.removed,
            removed_directories=tally.removed_directories,
            bytes_freed=tally.bytes_freed,
            freed_on_disk=tally.freed_on_disk,
            skipped=tally.skipped(),
            open_files={str(use): count for use, count in sorted(tally.use.items()) if count},
            errors=tuple(tally.errors),
            error_count=tally.error_count,
            plan_digest=digest,
            planned=tally.planned,
            planned_bytes=tally.planned_bytes,
            plan_stored=tally.plan_stored,
            sample=tuple(tally.sample),
            notes=_notes(tally),
            quarantined=tally.quarantined,
            bytes_quarantined=tally.bytes_quarantined,
            restorable_until=tally.restorable_until,
            now=now,
            purged=tally.purged,
            bytes_purged=tally.bytes_purged,
        ),
    )


def _notes(tally: Tally) -> tuple[str, ...]:
    """What belongs to a result and is no error: odd files with an example, and what was noted on the way."""
    notes = []
    for verdict, (path, why) in tally.first_odd.items():
        count = tally.verdicts[verdict]
        what = f"{count} files stay and do not count, such as" if count > 1 else "one file stays and does not count:"
        notes.append(f"{what} {path}: {why}")
    return tuple(note[:MAX_NOTE_LENGTH] for note in (*tally.notes, *notes))[:MAX_NOTES]


def health_result(
    checks: tuple[CheckReport, ...], *, stop: Reason | None, mode: str, seconds: float, timeout: float
) -> Result:
    """The result of a health check.

    It succeeded when every check was carried out, whatever it found: a failing check is what the run was for. A check
    that could not be carried out makes it partial.
    """
    counts = {
        kind: sum(check.result == kind for check in checks) for kind in ("Passed", "Warning", "Failed", "Unknown")
    }
    told = ", ".join(f"{count} {kind.lower()}" for kind, count in counts.items() if count)
    outcome: Outcome = stop or ("PartiallySucceeded" if counts["Unknown"] else "Succeeded")
    message = f"{len(checks)} check{'s' if len(checks) != 1 else ''}: {told}"
    if stop == "TimedOut":
        message = f"time was up after {timeout:g} s: {message}; raise spec.timeout"
    elif stop == "Cancelled":
        message = f"cancelled: {message}"
    worst = [check for kind in ("Unknown", "Failed", "Warning") for check in checks if check.result == kind]
    for check in worst:
        message += f"; {check.name} {check.result}: {check.message}"
    return Result(
        outcome=outcome, message=shortened(message), mode=mode, duration_seconds=round(seconds, 3), checks=checks
    )


def failure(outcome: Outcome, message: str, *, mode: str, seconds: float) -> Result:
    """A result without counters: what should have been counted never began, or broke."""
    return Result(outcome=outcome, message=shortened(message) or outcome, mode=mode, duration_seconds=round(seconds, 3))


def failure_of(result: Result, why: str) -> Result:
    """`result` with the outcome Failed, because `why` came after what it tells; its counters stay."""
    return dataclasses.replace(result, outcome="Failed", message=shortened(f"{why}; {result.message}"))


def with_notes(result: Result, notes: Sequence[str]) -> Result:
    """`result` with further notes, as far as there is room for them."""
    if result.cleanup is None or not notes:
        return result
    together = (*result.cleanup.notes, *(note[:MAX_NOTE_LENGTH] for note in notes))[:MAX_NOTES]
    return dataclasses.replace(result, cleanup=dataclasses.replace(result.cleanup, notes=together))


def with_audit(result: Result, audit: AuditReport | None) -> Result:
    """`result` of a clean-up or restore with the place and the head of its audit."""
    if result.restore is not None:
        return dataclasses.replace(result, restore=dataclasses.replace(result.restore, audit=audit))
    if result.cleanup is None:
        return result
    return dataclasses.replace(result, cleanup=dataclasses.replace(result.cleanup, audit=audit))


def unexpected(error: BaseException) -> str:
    """A sentence for an error that nobody foresaw: its class and message, on one line, never empty."""
    said = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}{': ' + said if said else ''}; this is a bug: the log has the traceback"


def shortened(message: str) -> str:
    """`message` in at most 512 characters."""
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def deliver(result: Result, path: str) -> None:
    """Write `result` to the container's termination log, where the kubelet reads it. Raises OSError."""
    data = result.to_json(max_bytes=MAX_BYTES).encode()
    # Not created: in a pod it is there, and elsewhere a file of that name in /dev would be nobody's wish.
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | (0 if path.startswith("/dev/") else os.O_CREAT), 0o644)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
