"""What a MaintenanceRun came to: the numbers, errors and decisions that its status tells of."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from housekeeper_api.fields.base import StatusModel
from housekeeper_api.fields.rules import ATOMIC_LIST, MapList
from housekeeper_api.fields.status import CheckStatus
from housekeeper_api.fields.values import MAX_INTEGER, Clipped, Count, ShortMessage, Timestamp


class Decision(StatusModel):
    """What was decided about one file, and why."""

    path: Annotated[str, Clipped(1024)]
    """Path below the root of the volume."""
    decision: Literal["Keep", "Remove"]
    """Whether it stays."""
    reason: ShortMessage
    """Why."""


class Audit(StatusModel):
    """Where it is written what was done to each file, and by what that can be recognised."""

    to: Literal["Log", "File"]
    """The log of the worker's pod, or a file on the report volume."""
    path: Annotated[str, Clipped(512)] | None = None
    """Of a file: below the directory of the report volume."""
    lines: Count = 0
    """Lines up to the head."""
    head: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the last block of its chain: what `housekeeper verify-audit --head` takes."""
    complete: bool = False
    """Whether there is a line about every file that was removed, would be, or stayed though it should have gone."""
    unrecorded: Count = 0
    """Files removed after the last line that is safe, because no more could be written."""


MAX_SAMPLE: Final = 20
MAX_ERRORS: Final = 5
MAX_NOTES: Final = 5
MAX_SKIP_REASONS: Final = 32
MAX_CHECKS: Final = 32


class CleanupResult(StatusModel):
    """Result of a clean-up. In a dry run, what would have been done."""

    scanned: Count
    """Files seen below the root."""
    matched: Count
    """Files that a rule selected."""
    removed: Count
    """Files removed."""
    removed_directories: Count = 0
    """Directories removed because this run had emptied them. Not counted in a dry run."""
    bytes_freed: Count
    """Allocated bytes of what was removed."""
    freed: Annotated[str, Field(max_length=16)] | None = None
    """The same for people, such as 2.2 MiB."""
    freed_on_disk: Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] | None = None
    """Bytes that became free on the file system meanwhile, whoever freed them. Absent in a dry run."""
    skipped: Annotated[dict[str, Count], Field(max_length=MAX_SKIP_REASONS)] = Field(default_factory=dict)
    """Files that a rule would remove and that stayed, by reason."""
    open_files: Annotated[dict[str, Count], Field(max_length=MAX_SKIP_REASONS)] = Field(default_factory=dict)
    """Files of the plan by what is known about their openers: `notOpen`; `open`, which stayed; `unknown`;
    `openedMeanwhile`, while they were removed; in a dry run `notLookedAt`. Empty where nobody asked."""
    errors: Annotated[tuple[ShortMessage, ...], Field(max_length=MAX_ERRORS), ATOMIC_LIST] = ()
    """The first errors, each with the path and what to do."""
    error_count: Count = 0
    """Number of all errors."""
    plan_digest: Annotated[str, Field(max_length=128)] | None = None
    """Digest of the plan that was carried out, or is held: what `approve` names."""
    planned: Count = 0
    """Files of the whole plan, whether they went or not."""
    planned_bytes: Count = 0
    """Allocated bytes of these."""
    plan_stored: Annotated[str, Clipped(512)] | None = None
    """Where the plan waits for approval. Absent if it does not."""
    notes: Annotated[tuple[ShortMessage, ...], Field(max_length=MAX_NOTES), ATOMIC_LIST] = ()
    """What else to know: a brake that is off, a plan that was lost, files whose time is in the future or not known."""
    sample: Annotated[tuple[Decision, ...], Field(max_length=MAX_SAMPLE), ATOMIC_LIST] = ()
    """Some of the decisions."""
    audit: Audit | None = None
    """Where the audit is. Absent where there is none."""
    now: Timestamp | None = None
    """The worker's clock when it began, by which all ages were taken. Ages in an audit or a plan count from it."""
    quarantined: Count = 0
    """Items (files, and directories that are one) moved into the quarantine; they are not in `removed`."""
    bytes_quarantined: Count = 0
    """Allocated bytes of what was quarantined, which are not free yet."""
    restorable_until: Timestamp | None = None
    """Until then at least, what was quarantined can be restored, and the run is not removed. Absent if nothing was."""
    purged: Count = 0
    """Items that were in quarantine long enough and went for good; they are not in `removed`."""
    bytes_purged: Count = 0
    """Allocated bytes of what was purged."""


class HealthResult(StatusModel):
    """Result of a HealthCheck."""

    checks: Annotated[tuple[CheckStatus, ...], Field(max_length=MAX_CHECKS), MapList("name")] = ()
    """Each check's result."""


class RestoreResult(StatusModel):
    """Result of a Restore. In a dry run, what would have been done."""

    restored: Count
    """Items that are where they were."""
    bytes_restored: Count
    """Allocated bytes of them."""
    conflicts: Count = 0
    """Items that stay in quarantine because something else is at their place now. Nothing is ever overwritten."""
    directories_made: Count = 0
    """Directories that were gone and were made again."""
    errors: Annotated[tuple[ShortMessage, ...], Field(max_length=MAX_ERRORS), ATOMIC_LIST] = ()
    """The first errors and conflicts, each with the path and what to do."""
    error_count: Count = 0
    """Number of all errors, without the conflicts."""
    audit: Audit | None = None
    """Where the audit is. Absent where there is none."""


class RunResult(StatusModel):
    """What came out. At most one member is set."""

    cleanup: CleanupResult | None = None
    """Of a CleanupPolicy."""
    health: HealthResult | None = None
    """Of a HealthCheck."""
    restore: RestoreResult | None = None
    """Of a Restore."""
