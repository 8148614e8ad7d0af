"""From a worker's result to `status.result` of its run: whatever a pod said, what comes out the API server takes.

A pod's termination message is not ours alone: whoever may run commands in the pod can write it, and an older worker may
write less. A status that the API server refuses would be tried for ever, so what does not fit is cut or left out here.
"""

from __future__ import annotations

import datetime as dt
import typing
from collections.abc import Iterable
from typing import Any, Final

from housekeeper_api import result
from housekeeper_api.fields.status import CheckStatus
from housekeeper_api.fields.values import MAX_INTEGER, clip
from housekeeper_api.quantities import format_bytes
from housekeeper_api.run_result import (
    MAX_CHECKS,
    MAX_ERRORS,
    MAX_NOTES,
    MAX_SAMPLE,
    MAX_SKIP_REASONS,
    Audit,
    CleanupResult,
    Decision,
    HealthResult,
    RestoreResult,
    RunResult,
)

LONGEST_KEPT: Final = dt.timedelta(days=3650)
"""The longest `quarantine.keepFor`. A record stays while its quarantine can be restored: no message pins it longer."""


def run_result(harvested: result.Result, ended: dt.datetime) -> RunResult | None:
    """`status.result` for what a worker reported; None if it reported no clean-up, no checks and no restore.

    `ended`: when it ended, by somebody else's word.
    """
    if harvested.cleanup is not None:
        return RunResult(cleanup=_cleanup(harvested.cleanup, ended))
    if harvested.checks is not None:
        return RunResult(health=HealthResult(checks=tuple(_checks(harvested.checks))))
    if harvested.restore is not None:
        return RunResult(restore=_restore(harvested.restore))
    return None


def _restore(restore: result.Restoration) -> RestoreResult:
    return RestoreResult(
        restored=_count(restore.restored),
        bytes_restored=_count(restore.bytes_restored),
        conflicts=_count(restore.conflicts),
        directories_made=_count(restore.directories_made),
        errors=tuple(_text(error, 256) for error in _items(restore.errors)[:MAX_ERRORS]),
        error_count=_count(restore.error_count),
        audit=_audit(restore.audit),
    )


def _cleanup(cleanup: result.Cleanup, ended: dt.datetime) -> CleanupResult:
    until = _time(cleanup.restorable_until)
    freed: Any = cleanup.freed_on_disk
    return CleanupResult(
        scanned=_count(cleanup.scanned),
        matched=_count(cleanup.matched),
        removed=_count(cleanup.removed),
        removed_directories=_count(cleanup.removed_directories),
        bytes_freed=_count(cleanup.bytes_freed),
        freed=format_bytes(_count(cleanup.bytes_freed)),
        freed_on_disk=None if not _is_integer(freed) else max(-MAX_INTEGER, min(freed, MAX_INTEGER)),
        skipped=_counts(cleanup.skipped),
        open_files=_counts(cleanup.open_files),
        errors=tuple(_text(error, 256) for error in _items(cleanup.errors)[:MAX_ERRORS]),
        error_count=_count(cleanup.error_count),
        plan_digest=_digest(cleanup.plan_digest),
        planned=_count(cleanup.planned),
        planned_bytes=_count(cleanup.planned_bytes),
        plan_stored=_text(cleanup.plan_stored, 512) or None,
        notes=tuple(_text(note, 256) for note in _items(cleanup.notes)[:MAX_NOTES]),
        sample=tuple(_decisions(cleanup.sample))[:MAX_SAMPLE],
        quarantined=_count(cleanup.quarantined),
        bytes_quarantined=_count(cleanup.bytes_quarantined),
        restorable_until=None if until is None else min(until, ended + LONGEST_KEPT),
        purged=_count(cleanup.purged),
        bytes_purged=_count(cleanup.bytes_purged),
        audit=_audit(cleanup.audit),
        now=_time(cleanup.now),
    )


def _audit(audit: result.AuditReport | None) -> Audit | None:
    if audit is None or not isinstance(audit.to, str) or audit.to not in {"Log", "File"}:
        return None
    return Audit(
        to=audit.to,
        path=_text(audit.path, 512) or None,
        lines=_count(audit.lines),
        head=_text(audit.head, 64) or None,
        complete=audit.complete is True,
        unrecorded=_count(audit.unrecorded),
    )


def _time(text: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(_text(text, 40))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and 1970 < moment.year < 9000 else None


def _digest(text: Any) -> str | None:
    """It stands in a command that whoever approves copies into a shell, so what is not a digest is left out."""
    return text if isinstance(text, str) and result.PLAN_DIGEST.fullmatch(text) else None


def _counts(counted: Any) -> dict[str, int]:
    if not isinstance(counted, dict):
        return {}
    counts = {_text(reason, 64): _count(count) for reason, count in counted.items()}
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_SKIP_REASONS]
    return dict(sorted(largest))


def _decisions(sample: Any) -> Iterable[Decision]:
    for one in _items(sample):
        if isinstance(one, dict) and _text(one.get("decision"), 8) in {"Keep", "Remove"}:
            yield Decision(
                path=_text(one.get("path"), 1024), decision=one["decision"], reason=_text(one.get("reason"), 256)
            )


def _checks(checks: Any) -> Iterable[CheckStatus]:
    seen: set[str] = set()
    for one in _items(checks):
        name = _text(one.name, 63)
        if not name or name in seen or len(seen) == MAX_CHECKS:
            continue  # a list by name takes each name once
        seen.add(name)
        known = isinstance(one.result, str) and one.result in typing.get_args(result.CheckResult)
        yield CheckStatus(
            name=name,
            result=one.result if known else "Unknown",
            value=_text(one.value, 32) or None,
            unit=_text(one.unit, 16) or None,
            message=_text(one.message, 256) or None,
        )


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else ()


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: Any) -> int:
    return max(0, min(value, MAX_INTEGER)) if _is_integer(value) else 0


def _text(value: Any, length: int) -> str:
    if not isinstance(value, str):
        return ""
    # Half a surrogate pair is no text: neither JSON in UTF-8 nor the API server takes it.
    return clip(value.encode(errors="replace").decode(), length)
