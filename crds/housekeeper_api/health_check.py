"""HealthCheck: on this schedule, measure that; warn here, fail there."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from housekeeper_api import names
from housekeeper_api.durations import Duration
from housekeeper_api.fields.base import Column, Model, Resource, StatusModel
from housekeeper_api.fields.execution import (
    POLICY_NAME,
    History,
    PendingTimeout,
    PersistentVolumeClaim,
    Retry,
    StartingDeadline,
    Timeout,
)
from housekeeper_api.fields.pod import Pod
from housekeeper_api.fields.rules import MapList, Rule
from housekeeper_api.fields.status import CheckStatus, HealthTotals, ScheduledStatus
from housekeeper_api.fields.values import (
    AnyDuration,
    Count,
    LabelName,
    Percentage,
    ScheduleText,
    Size,
    Timestamp,
    TimeZoneName,
    VolumeName,
    between,
    cel_is_duration,
    cel_milliseconds,
)
from housekeeper_api.quantities import parse_quantity


def _percent(text: str) -> Decimal:
    return Decimal(text.removesuffix("%"))


def _in_order(smaller: str, larger: str, cel: str, read: Any, message: str, field: str) -> Rule:
    """A rule: where both thresholds are set (snake_case names), the first is below the second."""

    def holds(thresholds: Any) -> bool:
        low, high = getattr(thresholds, smaller), getattr(thresholds, larger)
        return low is None or high is None or bool(read(low) < read(high))

    return Rule(cel, holds, message, field_path=f".{field}")


def _orders(cel_less: str, cel_shape: str, read: Any) -> tuple[Rule, ...]:
    """Rules on the four thresholds. `cel_less` compares `{0}` and `{1}`; `cel_shape` says if `{0}` can be compared."""
    pairs = (
        ("warn_above", "warnAbove", "fail_above", "failAbove", "failAbove", "must be above warnAbove"),
        ("fail_below", "failBelow", "warn_below", "warnBelow", "failBelow", "must be below warnBelow"),
        ("warn_below", "warnBelow", "warn_above", "warnAbove", "warnBelow", "must be below warnAbove"),
        ("warn_below", "warnBelow", "fail_above", "failAbove", "warnBelow", "must be below failAbove"),
        ("fail_below", "failBelow", "warn_above", "warnAbove", "failBelow", "must be below warnAbove"),
        ("fail_below", "failBelow", "fail_above", "failAbove", "failBelow", "must be below failAbove"),
    )
    return tuple(
        _in_order(
            small,
            large,
            f"!has(self.{cel_small}) || !has(self.{cel_large}) || "
            f"!{cel_shape.format('self.' + cel_small)} || !{cel_shape.format('self.' + cel_large)} || "
            + cel_less.format("self." + cel_small, "self." + cel_large),
            read,
            message,
            field,
        )
        for small, cel_small, large, cel_large, field, message in pairs
    )


class PercentThresholds(Model):
    """Limits of a percentage. None set: the value is measured and never fails."""

    constraints: ClassVar[tuple[Rule, ...]] = _orders(
        "double({0}.find('^[0-9.]+')) < double({1}.find('^[0-9.]+'))",
        "{0}.matches('^[0-9]+([.][0-9]+)?%$')",
        _percent,
    )

    warn_above: Percentage | None = None
    """Warning strictly above, such as `"80%"`."""
    fail_above: Percentage | None = None
    """Failed strictly above."""
    warn_below: Percentage | None = None
    """Warning strictly below."""
    fail_below: Percentage | None = None
    """Failed strictly below."""


class SizeThresholds(Model):
    """Limits of a number of bytes. None set: the value is measured and never fails."""

    constraints: ClassVar[tuple[Rule, ...]] = _orders(
        "quantity({0}).isLessThan(quantity({1}))", "isQuantity({0})", parse_quantity
    )

    warn_above: Size | None = None
    """Warning strictly above, such as `2Gi`."""
    fail_above: Size | None = None
    """Failed strictly above."""
    warn_below: Size | None = None
    """Warning strictly below."""
    fail_below: Size | None = None
    """Failed strictly below."""


class MemoryCheck(Model):
    """Memory, within the limit of the pod's cgroup where there is one, else of the node."""

    used: PercentThresholds = Field(default_factory=PercentThresholds)
    """Used memory in percent of all."""
    available: SizeThresholds | None = None
    """Memory that a new program could get, in bytes."""


class CPUCheck(Model):
    """Processor time, within the limit of the pod's cgroup where there is one, else of the node."""

    sample: Annotated[AnyDuration, between("100ms", "1m")] = Duration(2, "s")
    """For how long it is measured. Shorter than the timeout."""
    used: PercentThresholds = Field(default_factory=PercentThresholds)
    """Used processor time in percent of all."""


class FilesystemCheck(Model):
    """The file system of a volume."""

    volume: VolumeName
    """Name of one of `spec.volumes`."""
    used: PercentThresholds = Field(default_factory=PercentThresholds)
    """Used bytes in percent, as df shows them."""
    inodes_used: PercentThresholds = Field(default_factory=PercentThresholds)
    """Used inodes in percent. A file system without a fixed number of them has no such value."""


_MEMBERS: Final = {"Memory": "memory", "CPU": "cpu", "Filesystem": "filesystem"}


def _member_matches_type(type_: str, member: str) -> tuple[Rule, ...]:
    return (
        Rule(
            f"self.type != '{type_}' || has(self.{member})",
            lambda self: self.type != type_ or getattr(self, member) is not None,
            f"is required with type {type_}; {{}} measures it without thresholds",
            field_path=f".{member}",
            reason="FieldValueRequired",
        ),
        Rule(
            f"self.type == '{type_}' || !has(self.{member})",
            lambda self: self.type == type_ or getattr(self, member) is None,
            f"is only for type {type_}",
            field_path=f".{member}",
            reason="FieldValueForbidden",
        ),
    )


class Check(Model):
    """One check: its type, and the member of that name."""

    constraints: ClassVar[tuple[Rule, ...]] = tuple(
        rule for type_, member in _MEMBERS.items() for rule in _member_matches_type(type_, member)
    )

    name: LabelName
    """Name of the check, unique in the HealthCheck."""
    type: Literal["Memory", "CPU", "Filesystem"]
    """What is measured."""
    memory: MemoryCheck | None = None
    """With type Memory."""
    cpu: CPUCheck | None = None
    """With type CPU."""
    filesystem: FilesystemCheck | None = None
    """With type Filesystem."""


class Volume(Model):
    """A volume that checks can name. It is mounted read-only."""

    name: VolumeName
    """Name, unique in the HealthCheck."""
    persistent_volume_claim: PersistentVolumeClaim
    """The claim that is mounted."""


class CheckRetry(Retry):
    """What happens after an attempt that could not be carried out. A failing check is a result, not a failure."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often a run is tried in all."""


class CheckHistory(History):
    """How many finished runs are kept, and for how long."""

    succeeded: Annotated[int, Field(ge=0, le=100)] = 1
    """Number of succeeded runs that are kept."""


Streak = Annotated[int, Field(ge=1, le=100)]


class HealthCheckSpec(Model):
    """What is checked, when, and what counts as failing."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.checks.all(check, !has(check.filesystem) || "
            "self.volumes.exists(volume, volume.name == check.filesystem.volume))",
            lambda self: all(
                check.filesystem is None or any(volume.name == check.filesystem.volume for volume in self.volumes)
                for check in self.checks
            ),
            "filesystem.volume must be the name of one of spec.volumes",
            field_path=".checks",
        ),
        Rule(
            f"self.checks.all(check, !has(check.cpu) || !{cel_is_duration('check.cpu.sample')} || "
            f"!{cel_is_duration('self.timeout')} || "
            f"{cel_milliseconds('check.cpu.sample')} < {cel_milliseconds('self.timeout')})",
            lambda self: all(
                check.cpu is None or check.cpu.sample.milliseconds < self.timeout.milliseconds for check in self.checks
            ),
            "cpu.sample must be shorter than spec.timeout",
            field_path=".checks",
        ),
    )

    schedule: ScheduleText = "H/5 * * * *"
    """Five cron fields, where `H` is a number picked by a stable hash, so that a thousand checks do not start
    together: `H/5 * * * *` is every five minutes."""
    time_zone: TimeZoneName = "Etc/UTC"
    """IANA time zone of the schedule."""
    starting_deadline: StartingDeadline = Duration(5, "m")
    """A slot of the schedule that could not start by then is skipped, and told in `status.lastSkip`."""
    suspend: bool = False
    """Whether the schedule rests. Runs by hand still work."""
    timeout: Timeout = Duration(30, "s")
    """Longest duration of one attempt."""
    pending_timeout: PendingTimeout = Duration(5, "m")
    """Longest wait for the pod to run, from when the run was admitted."""
    retry: CheckRetry = Field(default_factory=CheckRetry)
    """What happens after an attempt that could not be carried out."""
    history: CheckHistory = Field(default_factory=CheckHistory)
    """How many finished runs are kept, and for how long."""
    pod: Pod = Field(default_factory=Pod)
    """Worker pods."""
    volumes: Annotated[tuple[Volume, ...], Field(max_length=16), MapList("name")] = ()
    """Volumes that the checks name."""
    checks: Annotated[tuple[Check, ...], Field(min_length=1, max_length=32), MapList("name")]
    """What is measured."""
    failure_threshold: Streak = 3
    """So many failures of one check in a row turn `Healthy` to False."""
    success_threshold: Streak = 1
    """So many results of one check in a row that are not failures turn it back."""


class Summary(StatusModel):
    """Checks by their last result."""

    passing: Count = 0
    """Checks that passed."""
    warning: Count = 0
    """Checks with a warning."""
    failing: Count = 0
    """Checks that failed."""
    unknown: Count = 0
    """Checks that could not be carried out."""


class CheckState(CheckStatus):
    """Result of one check, and since when."""

    consecutive_failures: Count = 0
    """Failures in a row, up to now."""
    consecutive_successes: Count = 0
    """Results in a row that are not failures, up to now."""
    last_transition_time: Timestamp | None = None
    """When the result last changed."""


class HealthCheckStatus(ScheduledStatus):
    """What became of the check."""

    totals: HealthTotals = Field(default_factory=HealthTotals)
    """Sums over all runs."""
    summary: Summary | None = None
    """Checks by their last result."""
    checks: Annotated[tuple[CheckState, ...], Field(max_length=32), MapList("name")] = ()
    """Each check's last result."""


class HealthCheck(Resource):
    """On this schedule, measure that; warn here, fail there."""

    short_name: ClassVar = "hck"
    columns: ClassVar = (
        Column(
            name="Healthy",
            json_path='.status.conditions[?(@.type=="Healthy")].status',
            description="Unknown where the checks could not be carried out.",
        ),
        Column(name="Failing", json_path=".status.summary.failing", type="integer", description="Checks that fail."),
        Column(name="Warning", json_path=".status.summary.warning", type="integer", description="Checks that warn."),
        Column(name="Last Run", json_path=".status.lastRunTime", type="date", description="When the last run ended."),
        Column(name="Next Run", json_path=".status.nextRunTime", description="Next slot of the schedule."),
        Column(name="Schedule", json_path=".spec.schedule", description="The schedule as written.", wide=True),
        Column(name="Suspend", json_path=".spec.suspend", type="boolean", description="The schedule rests.", wide=True),
        Column(
            name="Message",
            json_path='.status.conditions[?(@.type=="Healthy")].message',
            description="What to know about Healthy.",
            wide=True,
        ),
        Column(name="Age", json_path=".metadata.creationTimestamp", type="date", description="Since it was created."),
    )
    constraints: ClassVar[tuple[Rule, ...]] = (POLICY_NAME,)

    api_version: Literal["housekeeper.dev/v1alpha1"] = "housekeeper.dev/v1alpha1"
    kind: Literal["HealthCheck"] = names.HEALTH_CHECK
    spec: HealthCheckSpec
    """What is wanted."""
    status: HealthCheckStatus | None = None
    """What became of it; the operator's."""
