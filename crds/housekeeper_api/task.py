"""The task: what the operator tells a worker to do, as JSON in an annotation of its pod.

Plain frozen values and the standard library only, because the worker imports this. Everything is resolved: durations
in seconds where they are spans of time, and as written (`30d`) where they are calendar steps; no defaults are left to
the worker. `from_json` accepts exactly what `to_json` writes; anything else is a `TaskError`.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any, Final, Literal

SCHEMA_VERSION: Final = 1

Mode = Literal["DryRun", "Enforce"]
OpenFiles = Literal["Protect", "Strict", "Ignore"]
CheckType = Literal["Memory", "CPU", "Filesystem"]
TimeSource = Literal["ModificationTime", "AccessTime", "ChangeTime", "BirthTime", "Name"]
PressureOf = Literal["FileSystem", "Claim"]
ItemType = Literal["File", "Directory"]
RemoveEmptyDirectories = Literal["Never", "EmptiedByThisRun"]
OnTrip = Literal["Hold", "Fail"]
Action = Literal["Delete", "Quarantine"]


class TaskError(ValueError):
    """The task is not one that this worker understands. The message names the member."""


@dataclasses.dataclass(frozen=True, slots=True)
class Keep:
    """What is kept of each group. Members are OR-ed, but for `max_total_size`; None: that member is off.

    Counts are at least 1, or -1 for all. Durations are calendar durations as written.
    """

    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    within: str | None = None
    within_hourly: str | None = None
    within_daily: str | None = None
    within_weekly: str | None = None
    within_monthly: str | None = None
    within_yearly: str | None = None
    max_total_size: int | None = None
    """Bytes."""
    at_least: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class GroupKeep:
    """Another `keep` for the groups whose captured values are those of `match`."""

    match: dict[str, str]
    keep: Keep


@dataclasses.dataclass(frozen=True, slots=True)
class ItemTime:
    """Where an item's time comes from."""

    source: TimeSource = "ModificationTime"
    format: str = ""
    """Of `Name`: how the time is written in it, as for strftime."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a CleanupPolicy. At least one of `remove_older_than` and `keep` is set."""

    name: str
    include: tuple[str, ...]
    """Globs over the path below the root; at least one."""
    exclude: tuple[str, ...]
    remove_older_than: str | None = None
    """Calendar duration as written, such as `30d` or `1mo`."""
    time: ItemTime = ItemTime()
    group_by: str | None = None
    """RE2 with named captures over the whole path; what it does not match is not selected."""
    keep: Keep | None = None
    keep_per_group: tuple[GroupKeep, ...] = ()
    """The first that matches a group replaces `keep` for it."""
    action: Action = "Delete"
    """What happens to what goes."""
    min_size: int | None = None
    """Bytes; a file of fewer is not selected."""
    max_size: int | None = None
    """Bytes; a file of more is not selected."""
    item_type: ItemType = "File"
    """Directory: a directory that the globs match is one item."""
    ignore_incomplete: bool = False
    """Whether what is still being written, as its name or a sibling's says, is left alone."""
    remove_empty_directories: RemoveEmptyDirectories = "Never"


@dataclasses.dataclass(frozen=True, slots=True)
class Pressure:
    """Nothing goes unless the volume is fuller than `high_percent`, and no more than brings it to `low_percent`."""

    high_percent: int
    low_percent: int
    """Less than `high_percent`."""
    of: PressureOf
    """FileSystem: bytes or inodes, as statvfs has them. Claim: what is below the root, of `capacity_bytes`."""
    capacity_bytes: int | None = None
    """Of Claim: the claim's capacity; None where nobody knows it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Brakes:
    """Limits on the whole plan. Each trips strictly above; None: that one is off."""

    max_percent: int
    """0..100, percent of the selected items."""
    max_items: int | None = None
    """Items of the plan."""
    max_bytes: int | None = None
    """Allocated bytes of the plan."""
    on_trip: OnTrip = "Hold"
    """Hold: the plan is stored and waits for approval. Fail: the run has failed, and nothing waits."""


@dataclasses.dataclass(frozen=True, slots=True)
class PastRun:
    """The numbers of a concluded run of the same policy at the same target, a dry run or not."""

    time_ns: int
    """Its `now`, ns since 1970, to the second or better."""
    scanned: int
    matched: int
    planned: int
    """Items of its whole plan, whether they went or were held."""
    removed: int
    """Items that are not there any more, in quarantine too; 0 for a dry run."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cleanup:
    """What to clean: one root and its rules."""

    root: str
    """Where the volume is mounted, absolute."""
    path: str
    """Start below the root, relative, without `..`; empty for the root itself."""
    rules: tuple[Rule, ...]
    settle_seconds: float
    open_files: OpenFiles
    brakes: Brakes
    fs_group: int | None
    """The pod's fsGroup, for the advice in a result; None when the policy sets none."""
    pressure: Pressure | None = None
    """None: the rules alone decide."""
    state: tuple[PastRun, ...] | None = None
    """Up to ten of the last runs, the newest first; None: nobody keeps their numbers, so what compares with them is
    off."""
    approve: str | None = None
    """`sha256:HEX`: carry out the plan that is stored under this digest, in place of the brakes."""
    approved_in_time: bool = False
    """Whether the plan was approved while its run was held. How old it is, is then not judged again: it may have waited
    for its turn since."""
    report: str | None = None
    """Directory of the report volume, absolute: stored plans and audit files live below it, as
    `NAMESPACE/POLICY/plans/` and `NAMESPACE/POLICY/RUN-aATTEMPT.ndjson`. It may be written in a dry run too."""
    report_keep_seconds: float | None = None
    """Age at which an audit file of the policy there is removed; None: never."""
    hold_seconds: float | None = None
    """How long a stored plan may be approved; None: for ever."""
    expect_marker: str | None = None
    """A file, relative to `root`, without which this is not the right volume: nothing is looked at."""
    processes: int = 0
    """How many processes work at it; 0: as many as there are processors for the pod."""
    operations_per_second: int = 0
    """How many files are looked at, and then removed, in a second; 0: no limit."""
    quarantine_seconds: float | None = None
    """How long what was quarantined can be restored. None: nothing is quarantined, nor purged."""


@dataclasses.dataclass(frozen=True, slots=True)
class Restore:
    """What to bring back: what one run quarantined, to where it was."""

    root: str
    """Where the volume is mounted, absolute."""
    run: str
    """Name of the run, or of one quarantine of it."""
    namespace: str | None = None
    """Only quarantines of runs of this namespace; None: of any."""
    paths: tuple[str, ...] = ()
    """Globs over the path below the root; none: everything."""
    report: str | None = None
    """Directory of the report volume, absolute, where the audit goes; None: to the log. As of a clean-up."""
    report_keep_seconds: float | None = None
    """Age at which an audit file of the policy there is removed; None: never."""


@dataclasses.dataclass(frozen=True, slots=True)
class Threshold:
    """Limits of one measured value, in the value's unit. None: that limit is off."""

    warn_above: float | None = None
    fail_above: float | None = None
    warn_below: float | None = None
    fail_below: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One check of a HealthCheck. `thresholds` is keyed by measured value (`used`, `inodesUsed`, `available` …)."""

    name: str
    type: CheckType
    thresholds: dict[str, Threshold]
    mount: str = ""
    """Filesystem: where the claim is mounted, absolute."""
    sample_seconds: float = 0.0
    """CPU: for how long it is measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """What to check."""

    checks: tuple[Check, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One attempt of one run. Exactly one of `cleanup`, `health` and `restore` is set."""

    run: str
    """Name of the MaintenanceRun."""
    namespace: str
    policy: str
    attempt: int
    mode: Mode
    time_zone: str
    """IANA name; every calendar decision is made in it."""
    timeout_seconds: float
    cleanup: Cleanup | None = None
    health: Health | None = None
    restore: Restore | None = None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The task as compact JSON with sorted keys: equal tasks give equal text."""
        return json.dumps(_encode(self), separators=(",", ":"), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Read a task. Raises `TaskError`, which names the member that is wrong."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise TaskError(f"the task is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise TaskError("the task is not a JSON object")
        version = data.get("schemaVersion")
        if version != SCHEMA_VERSION:
            raise TaskError(
                f"the task has schemaVersion {version!r}, this worker reads {SCHEMA_VERSION}: "
                "operator and worker image are of different releases"
            )
        task: Task = _decode(cls, data, "task")
        if sum(member is not None for member in (task.cleanup, task.health, task.restore)) != 1:
            raise TaskError("task: exactly one of cleanup, health and restore must be set")
        return task


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            _camel(field.name): _encode(member)
            for field in dataclasses.fields(value)
            if (member := getattr(value, field.name)) is not None
        }
    if isinstance(value, dict):
        return {key: _encode(member) for key, member in value.items()}
    if isinstance(value, (tuple, list)):
        return [_encode(member) for member in value]
    return value


def _decode(wanted: Any, data: Any, where: str) -> Any:
    """`data` as a value of the type `wanted`; `where` is its path, for errors."""
    origin = typing.get_origin(wanted)
    arguments = typing.get_args(wanted)
    if origin in {types.UnionType, typing.Union}:
        if data is None:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), data, where)
    if origin is Literal:
        if data not in arguments:
            raise TaskError(f"{where}: {data!r} is none of {', '.join(map(str, arguments))}")
        return data
    if origin is tuple:
        if not isinstance(data, list):
            raise TaskError(f"{where}: not a list")
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise TaskError(f"{where}: not an object")
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(wanted):
        return _decode_object(wanted, data, where)
    if wanted is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, wanted) or (wanted is int and isinstance(data, bool)):
        raise TaskError(f"{where}: {data!r} is not {wanted.__name__}")
    return data


def _decode_object(wanted: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise TaskError(f"{where}: not an object")
    hints = typing.get_type_hints(wanted)
    members: dict[str, Any] = {}
    for field in dataclasses.fields(wanted):
        key = _camel(field.name)
        if key in data:
            members[field.name] = _decode(hints[field.name], data.pop(key), f"{where}.{key}")
        elif type(None) not in typing.get_args(hints[field.name]) and field.default is dataclasses.MISSING:
            raise TaskError(f"{where}.{key}: missing")
    if data:
        raise TaskError(f"{where}.{min(data)}: not known to this worker")
    for field in dataclasses.fields(wanted):
        members.setdefault(field.name, None if field.default is dataclasses.MISSING else field.default)
    return wanted(**members)
