"""The result: what a worker reports of one attempt, as the termination message of its container.

One JSON object of at most `MAX_BYTES` (the kubelet keeps 4096 bytes of all containers; 3 KiB leaves room). Plain values
and the standard library only, because the worker imports this.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any, Final, Literal

SCHEMA_VERSION: Final = 1
MAX_BYTES: Final = 3072
PLAN_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")
"""A digest of a plan, as a whole (`fullmatch`). Whatever else a pod says is none: people paste it into a shell."""

Outcome = Literal["Succeeded", "PartiallySucceeded", "Failed", "TimedOut", "Cancelled", "Held", "CouldNotRun"]
"""How the attempt ended. Held: a brake tripped, nothing of the plan was removed. CouldNotRun: nothing was tried."""
CheckResult = Literal["Passed", "Warning", "Failed", "Unknown"]
_LEFT_OUT: Final[tuple[CheckResult, ...]] = ("Unknown", "Passed", "Warning", "Failed")
"""In which order checks are left out for which there is no room."""


class ResultError(ValueError):
    """The text is not a result that this release understands."""


@dataclasses.dataclass(frozen=True, slots=True)
class AuditReport:
    """Where the audit of an attempt is, and by what it can be recognised."""

    to: Literal["Log", "File"]
    path: str = ""
    """Of a file: below the report volume, or as it was given on the command line."""
    lines: int = 0
    """Lines of the log or file up to the head."""
    head: str = ""
    """Hash of the last block of its chain, hexadecimal."""
    complete: bool = True
    """Whether it has a line for every file that was removed, would be, or stayed."""
    unrecorded: int = 0
    """Files removed after its last line that is safe, because it could not be written any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cleanup:
    """Counters of a clean-up. Items are files, and directories that are taken as one."""

    scanned: int = 0
    """Files seen below the root."""
    matched: int = 0
    """Files that a rule selected."""
    removed: int = 0
    """Files removed; in a dry run, files that would be."""
    removed_directories: int = 0
    """Directories that this run emptied and removed after that; 0 in a dry run."""
    bytes_freed: int = 0
    """Allocated bytes of what was removed; a hard-linked file counts with its last link. In a dry run: would be."""
    freed_on_disk: int | None = None
    """What statvfs says became free. None in a dry run, or where it cannot be told."""
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    """Selected files that a rule would remove and that stayed, by reason (`settling`, `changed`, `permission` …)."""
    open_files: dict[str, int] = dataclasses.field(default_factory=dict)
    """Files of the plan by what is known about their openers: `notOpen`, `open` (they stayed), `unknown`,
    `openedMeanwhile`, in a dry run `notLookedAt`. Empty where nobody asked."""
    errors: tuple[str, ...] = ()
    """At most 5, each at most 256 characters, each with the path and what to do."""
    error_count: int = 0
    """All errors, whether listed or not."""
    plan_digest: str = ""
    """`sha256:HEX` of the plan; with it a held plan is approved."""
    planned: int = 0
    """Files of the whole plan, before an approval narrowed it."""
    planned_bytes: int = 0
    """Allocated bytes of these."""
    plan_stored: str = ""
    """Where the plan waits for approval, for a person; empty if it does not."""
    notes: tuple[str, ...] = ()
    """At most 5 sentences, each at most 256 characters, of what else to know: a brake that is off, a plan that was
    lost."""
    sample: tuple[dict[str, str], ...] = ()
    """At most 20 decisions: path, decision (Keep | Remove), reason. What should go and stayed is a Keep, but for a plan
    that is held: that is shown as it waits for approval."""
    audit: AuditReport | None = None
    quarantined: int = 0
    """Items (files, and directories that are one) moved into the quarantine; in a dry run, that would be. Not in
    `removed`."""
    bytes_quarantined: int = 0
    """Allocated bytes of them, which are not free yet. A hard-linked file counts once."""
    restorable_until: str | None = None
    """RFC 3339: until then at least what was quarantined can be restored. None if nothing was."""
    now: str | None = None
    """RFC 3339: the clock reading that all ages were taken by."""
    purged: int = 0
    """Items that went for good, because they were in quarantine long enough. They are not in `removed`."""
    bytes_purged: int = 0
    """Allocated bytes of them; a hard-linked file counts with its last link."""


@dataclasses.dataclass(frozen=True, slots=True)
class Restoration:
    """Counters of a restore. In a dry run, of what would be done."""

    restored: int = 0
    """Items that are where they were."""
    bytes_restored: int = 0
    """Allocated bytes of them."""
    conflicts: int = 0
    """Items that stay in quarantine because something else is at their place now."""
    directories_made: int = 0
    """Directories that were gone and were made again."""
    errors: tuple[str, ...] = ()
    """At most 5, each at most 256 characters, each with the path and what to do; conflicts among them."""
    error_count: int = 0
    """All errors, conflicts not counted."""
    audit: AuditReport | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of one check. `value` is a decimal number as text, in `unit` (percent, bytes, seconds)."""

    name: str
    result: CheckResult
    value: str = ""
    unit: str = ""
    message: str = ""
    """At most 128 characters."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One attempt."""

    outcome: Outcome
    message: str
    """One sentence for a person; if the outcome is not good, it says what to do. At most 512 characters."""
    mode: str
    duration_seconds: float
    cleanup: Cleanup | None = None
    checks: tuple[CheckReport, ...] | None = None
    restore: Restoration | None = None
    truncated: bool = False
    """Something was left out to stay below `MAX_BYTES`; the log has all of it."""
    schema_version: int = SCHEMA_VERSION

    def to_json(self, *, max_bytes: int | None = None) -> str:
        """Compact JSON. With `max_bytes`, sample, errors, messages and checks are shortened, and in the end left out,
        until it fits (`truncated`)."""
        text = _dump(self)
        if max_bytes is None or len(text.encode()) <= max_bytes:
            return text
        for shorter in _shorter(self):
            text = _dump(shorter)
            if len(text.encode()) <= max_bytes:
                return text
        return text

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Read a result; unknown members are ignored. Raises `ResultError`."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ResultError(f"not JSON: {error}") from error
        if not isinstance(data, dict) or data.get("schemaVersion") != SCHEMA_VERSION:
            raise ResultError("not a result of this schema version")
        try:
            cleanup = data.get("cleanup")
            checks = data.get("checks")
            restore = data.get("restore")
            return cls(
                outcome=data["outcome"],
                message=str(data["message"]),
                mode=str(data["mode"]),
                duration_seconds=float(data["durationSeconds"]),
                cleanup=None if cleanup is None else Cleanup(**_audited(Cleanup, cleanup)),
                checks=None if checks is None else tuple(CheckReport(**_members(CheckReport, c)) for c in checks),
                restore=None if restore is None else Restoration(**_audited(Restoration, restore)),
                truncated=bool(data.get("truncated", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ResultError(f"a member is missing or wrong: {error!r}") from error


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def as_dict(value: Any) -> Any:
    """A result, or a part of one, as plain JSON values with camelCase keys; members that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            _camel(field.name): as_dict(member)
            for field in dataclasses.fields(value)
            if (member := getattr(value, field.name)) is not None
        }
    if isinstance(value, (tuple, list)):
        return [as_dict(member) for member in value]
    if isinstance(value, dict):
        return {key: as_dict(member) for key, member in value.items()}
    return value


def _dump(result: Result) -> str:
    told = as_dict(result)
    if result.truncated and result.checks is not None:
        told["checks"] = [{key: value for key, value in check.items() if value != ""} for check in told["checks"]]
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False)


def _members(wanted: Any, data: dict[str, Any]) -> dict[str, Any]:
    members = {}
    for field in dataclasses.fields(wanted):
        if (key := _camel(field.name)) in data:
            value = data[key]
            members[field.name] = tuple(value) if isinstance(value, list) else value
    return members


def _audited(wanted: Any, data: dict[str, Any]) -> dict[str, Any]:
    members = _members(wanted, data)
    audit = members.pop("audit", None)
    known = isinstance(audit, dict) and "to" in audit
    return {**members, "audit": AuditReport(**_members(AuditReport, audit)) if known else None}


def _short(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(note[:100] for note in notes)


def _shorter(result: Result) -> Iterator[Result]:
    """Ever shorter versions of `result`: samples first, then errors, notes, check messages, the message, checks."""
    base = dataclasses.replace(result, truncated=True)
    if base.cleanup is not None:
        for samples, errors, width in ((10, 5, 256), (5, 5, 256), (2, 3, 200), (0, 3, 160), (0, 1, 120), (0, 0, 0)):
            cleanup = dataclasses.replace(
                base.cleanup,
                sample=base.cleanup.sample[:samples],
                errors=tuple(error[:width] for error in base.cleanup.errors[:errors]),
            )
            yield dataclasses.replace(base, cleanup=cleanup)
        cleanup = dataclasses.replace(base.cleanup, sample=(), errors=(), notes=_short(base.cleanup.notes))
        base = dataclasses.replace(base, cleanup=cleanup)
        yield base
    if base.restore is not None:
        for errors in (1, 0):
            base = dataclasses.replace(
                base, restore=dataclasses.replace(base.restore, errors=base.restore.errors[:errors])
            )
            yield base
    if base.checks is not None:
        for width in (64, 24, 0):
            checks = tuple(dataclasses.replace(check, message=check.message[:width]) for check in base.checks)
            base = dataclasses.replace(base, checks=checks)
            yield base
    base = dataclasses.replace(base, message=base.message[:160])
    yield base
    if base.cleanup is not None:
        yield dataclasses.replace(base, cleanup=dataclasses.replace(base.cleanup, notes=()))
    if base.checks is not None:
        yield from _with_fewer_checks(base, base.checks)


def _with_fewer_checks(base: Result, checks: tuple[CheckReport, ...]) -> Iterator[Result]:
    """Without values, and then without checks: first those of which nothing is known, as of one that is not there."""
    for wordless in ({"Passed"}, set(_LEFT_OUT)):
        checks = tuple(
            dataclasses.replace(check, value="", unit="") if check.result in wordless else check for check in checks
        )
        yield dataclasses.replace(base, checks=checks)
    going = sorted(range(len(checks)), key=lambda place: _LEFT_OUT.index(checks[place].result))
    for count in range(1, len(going) + 1):
        gone = set(going[:count])
        yield dataclasses.replace(base, checks=tuple(one for place, one in enumerate(checks) if place not in gone))
