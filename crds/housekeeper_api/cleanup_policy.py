"""CleanupPolicy: on this schedule, on this volume, remove that."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from housekeeper_api import names
from housekeeper_api.durations import Duration
from housekeeper_api.fields.base import Column, Model, Resource
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
from housekeeper_api.fields.retention import GroupExpression, GroupKeep, ItemTime, Keep
from housekeeper_api.fields.rules import ATOMIC_LIST, MapList, Rule
from housekeeper_api.fields.status import (
    MAX_RECENT_RUNS,
    MAX_TARGET,
    CleanupTotals,
    RecentRun,
    ScheduledStatus,
)
from housekeeper_api.fields.values import (
    AnyDuration,
    Glob,
    IncludeGlob,
    LabelName,
    RelativePath,
    ScheduleText,
    Size,
    TimeZoneName,
    between,
    cel_is_size,
)
from housekeeper_api.quantities import parse_quantity

_EVERYTHING = ("**", "**/*", "*")


class VolumeTarget(Model):
    """A directory tree on a volume."""

    persistent_volume_claim: PersistentVolumeClaim
    """The claim that is mounted. NFS, local and host paths are reached through a PersistentVolume."""
    path: RelativePath | None = None
    """Start below the root of the volume. Absent: the root itself."""
    expect_marker: RelativePath | None = None
    """A file, relative to the root of the volume, that shows that this is the right one: without it nothing is looked
    at. No rule removes it. Absent: not asked for."""


class Target(Model):
    """What is cleaned."""

    volume: VolumeTarget
    """A directory tree on a volume."""


class Select(Model):
    """Which files a rule is about."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.include) == 0 || (self.include.exists(glob, !(glob in self.exclude)) && "
            "!self.exclude.exists(glob, glob in ['**', '**/*', '*']))",
            lambda self: (
                any(glob not in self.exclude for glob in self.include)
                and not any(glob in self.exclude for glob in _EVERYTHING)
            ),
            "selects nothing: everything that is included is excluded too",
        ),
        Rule(
            f"!has(self.minSize) || !has(self.maxSize) || !{cel_is_size('self.minSize')} || "
            f"!{cel_is_size('self.maxSize')} || quantity(self.minSize).compareTo(quantity(self.maxSize)) <= 0",
            lambda self: (
                self.min_size is None
                or self.max_size is None
                or parse_quantity(self.min_size) <= parse_quantity(self.max_size)
            ),
            "is more than maxSize: no file is of such a size",
            field_path=".minSize",
        ),
    )

    include: Annotated[tuple[IncludeGlob, ...], Field(min_length=1, max_length=64), ATOMIC_LIST]
    """Globs over the whole path below the root: `*` stops at `/`, `**` does not, a leading dot matches."""
    exclude: Annotated[tuple[Glob, ...], Field(max_length=64), ATOMIC_LIST] = ()
    """Globs of what this rule never takes, whatever `include` says: files, and directories with everything in them."""
    min_size: Size | None = None
    """A file of fewer bytes is not selected, as if no glob took it."""
    max_size: Size | None = None
    """A file of more bytes is not selected, as if no glob took it."""
    item_type: Literal["File", "Directory"] = "File"
    """Directory: each directory that the globs match (the topmost, where one is in another) is one item. Its time is
    the newest modification time inside, directories included. It goes as a whole or stays as a whole: it stays if
    anything in it is excluded, belongs to an earlier rule, is protected, incomplete, not settled, open, not readable,
    or a mount."""
    ignore_incomplete: bool = False
    """Whether what is still being written is left alone, and not counted by `keep`: names that end with .part, .tmp,
    .partial or .lock, and every NAME beside such a sibling. A directory that holds such a name is incomplete too."""


class CleanupRule(Model):
    """One rule. A file belongs to the first rule that selects it; later rules do not see it."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.removeOlderThan) || has(self.keep)",
            lambda self: self.remove_older_than is not None or self.keep is not None,
            "needs removeOlderThan, keep or both: without, nothing would ever go",
        ),
        Rule(
            "size(self.keepPerGroup) == 0 || has(self.groupBy)",
            lambda self: not self.keep_per_group or self.group_by is not None,
            "means nothing without groupBy, which says what the groups are",
            field_path=".keepPerGroup",
        ),
        Rule(
            "self.select.itemType != 'Directory' || self.time.source != 'AccessTime'",
            lambda self: self.select.item_type != "Directory" or self.time.source != "AccessTime",
            "AccessTime says nothing about directories, whose every look inside is an access: write another source",
            field_path=".time.source",
        ),
    )

    name: LabelName
    """Name of the rule, unique in the policy."""
    select: Select
    """Which files it is about."""
    group_by: GroupExpression | None = None
    """A regular expression (RE2) with named captures, which must match the whole path below the root. `keep` applies to
    each group by itself; what does not match is not selected. Absent: all files of the rule are one group."""
    time: ItemTime = Field(default_factory=ItemTime)
    """What the time of a file is."""
    keep: Keep | None = None
    """What stays of each group. With `removeOlderThan` besides, a file goes if it is older and nothing keeps it."""
    keep_per_group: Annotated[tuple[GroupKeep, ...], Field(max_length=64), ATOMIC_LIST] = ()
    """Groups with a `keep` of their own. The first that matches replaces `keep`."""
    remove_older_than: Annotated[AnyDuration, between("1s", "100y")] | None = None
    """Age above which a file goes. d, w, mo and y are calendar steps in `timeZone`. Absent: `keep` alone decides."""
    action: Literal["Delete", "Quarantine"] = "Delete"
    """What happens to what goes. Quarantine: it is moved into `.housekeeper/quarantine` of the volume, from where it
    can be restored, a directory that is one item as a whole; the room becomes free when it is purged."""
    remove_empty_directories: Literal["Never", "EmptiedByThisRun"] = "Never"
    """EmptiedByThisRun: a directory goes if this run removed the last entry in it for this rule, and above it each that
    is empty without it; never `path` itself, a mount or a directory that was empty before."""


class Report(Model):
    """A volume for what should outlive the pods: plans and, in full, what was done."""

    persistent_volume_claim: PersistentVolumeClaim
    """The claim. It is mounted writable, in a dry run too, and must be another one than the target's."""
    path: RelativePath | None = None
    """Directory below the root of the volume; the worker makes it. Absent: the root itself."""
    keep_for: Annotated[AnyDuration, between("1h", "10y")] = Duration(90, "d")
    """How long what was done stays there in writing. Every run of the policy removes files of its own that are older,
    dry runs too."""


class Brakes(Model):
    """Limits on the whole plan, checked before the first removal. Each trips strictly above; then nothing is removed.
    Three more need no number: a plan ten times as large as usual, a volume that is suddenly empty, and a group that
    would lose all that its rule keeps."""

    max_percent: Annotated[int, Field(ge=0, le=100)] = 50
    """Nothing is removed if more than this percentage of the selected files would go. What stays and does not count,
    such as incomplete files and those from the future, is not among the files that this is a percentage of."""
    max_items: Annotated[int, Field(ge=0, le=10**12)] | None = None
    """Nor if it would be more files than this. Absent: no such limit."""
    max_bytes: Size | None = None
    """Nor if it would free more allocated bytes than this, such as 500Gi. Absent: no such limit."""
    on_trip: Literal["Hold", "Fail"] = "Hold"
    """Hold: the plan is stored and waits for approval. Fail: the run has failed, and nothing waits."""


class Pressure(Model):
    """How full the volume may become before anything goes, and how far it is emptied then."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.lowPercent < self.highPercent",
            lambda self: self.low_percent < self.high_percent,
            "must be less than highPercent",
            field_path=".lowPercent",
        ),
    )

    high_percent: Annotated[int, Field(ge=1, le=100)]
    """Unless the volume is fuller than this, nothing goes."""
    low_percent: Annotated[int, Field(ge=0, le=99)]
    """No more goes, the oldest first, than brings the volume down to this."""
    of: Literal["FileSystem", "Claim"] = "FileSystem"
    """FileSystem: bytes or inodes, whichever is scarce, as df shows them. Claim: the allocated bytes below the root of
    the volume, of the claim's capacity; for volumes that share a file system."""


class Quarantine(Model):
    """What becomes of what rules with `action: Quarantine` let go."""

    keep_for: Annotated[AnyDuration, between("1m", "10y")] = Duration(7, "d")
    """How long they can be restored, from when they were moved. The first run in mode Enforce after that purges them.
    What was promised to a quarantine when it was made is kept, even if this is shortened."""


class Limits(Model):
    """How much of the disk and of the processors a run takes."""

    operations_per_second: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Files that are looked at, and later removed, in a second. 0: as many as the disk does."""
    processes: Annotated[int, Field(ge=0, le=16)] = 0
    """Processes that work at a large volume. 0: one for each whole processor that the pod may use, and at most four."""


class CleanupPolicySpec(Model):
    """What is cleaned, when, and how carefully."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.report) || self.report.persistentVolumeClaim.claimName != "
            "self.target.volume.persistentVolumeClaim.claimName",
            lambda self: (
                self.report is None or self.report.persistent_volume_claim != self.target.volume.persistent_volume_claim
            ),
            "is the claim that is cleaned; name another one, or leave report out: held plans are then kept on the "
            "target, below .housekeeper",
            field_path=".report.persistentVolumeClaim.claimName",
        ),
        Rule(
            "!has(self.pressure) || self.rules.all(rule, rule.action != 'Quarantine')",
            lambda self: self.pressure is None or all(rule.action != "Quarantine" for rule in self.rules),
            "must be left out where a rule has action Quarantine: what is moved there frees no space",
            field_path=".pressure",
        ),
    )

    schedule: ScheduleText = "H 3 * * *"
    """Five cron fields, where `H` is a number picked by a stable hash, so that a thousand policies do not start
    together: `H 3 * * *` is once a day between three and four."""
    time_zone: TimeZoneName = "Etc/UTC"
    """IANA time zone of the schedule and of every calendar decision."""
    starting_deadline: StartingDeadline = Duration(1, "h")
    """A slot of the schedule that could not start by then is skipped, and told in `status.lastSkip`."""
    suspend: bool = False
    """Whether the schedule rests. Runs by hand still work."""
    mode: Literal["DryRun", "Enforce"] = "DryRun"
    """DryRun: nothing is removed, the volume is mounted read-only, and the numbers say what would be."""
    target: Target
    """What is cleaned."""
    rules: Annotated[tuple[CleanupRule, ...], Field(min_length=1, max_length=32), MapList("name")]
    """Rules, in order."""
    settle_time: Annotated[AnyDuration, between("0s", "1y")] = Duration(10, "m")
    """Whatever changed more recently is left alone."""
    open_files: Literal["Protect", "Strict", "Ignore"] = "Protect"
    """Protect: a file that some process has open stays, as the kernel tells by a lease; where it cannot tell (another
    user's file, a network file system), `settleTime` decides. Strict: what it cannot tell stays too. Ignore: nobody
    asks."""
    pressure: Pressure | None = None
    """What the rules let go goes only while the volume is too full. Absent: it goes in any case."""
    brakes: Brakes = Field(default_factory=Brakes)
    """Limits on the whole plan."""
    quarantine: Quarantine = Field(default_factory=Quarantine)
    """What becomes of what rules with `action: Quarantine` let go."""
    limits: Limits = Field(default_factory=Limits)
    """How much of the disk and of the processors a run takes."""
    timeout: Timeout = Duration(1, "h")
    """Longest duration of one attempt."""
    pending_timeout: PendingTimeout = Duration(15, "m")
    """Longest wait for the pod to run, from when the run was admitted."""
    retry: Retry = Field(default_factory=Retry)
    """What happens after a failed attempt."""
    history: History = Field(default_factory=History)
    """How many finished runs are kept, and for how long."""
    hold_for: Annotated[AnyDuration, between("1s", "1y")] = Duration(7, "d")
    """How long a held plan waits for approval; then it expires."""
    report: Report | None = None
    """Where plans are kept, and what was done is written in full. Absent: held plans are kept on the target, below
    `.housekeeper`, and the pod's log is the record."""
    pod: Pod = Field(default_factory=Pod)
    """Worker pods."""


class CleanupPolicyStatus(ScheduledStatus):
    """What became of the policy."""

    totals: CleanupTotals = Field(default_factory=CleanupTotals)
    """Sums over all runs."""
    recent_target: Annotated[str, Field(max_length=MAX_TARGET)] | None = None
    """Claim and directory that `recentRuns` are about. Once a run on another one concludes, they begin anew."""
    recent_runs: Annotated[tuple[RecentRun, ...], Field(max_length=MAX_RECENT_RUNS), ATOMIC_LIST] = ()
    """Numbers of the last ten runs that succeeded, dry ones included, newest first. The brakes compare a new plan with
    them; held plans are not among them, or a brake would get used to what it holds."""


class CleanupPolicy(Resource):
    """On this schedule, on this volume, remove that. By default in a dry run, which only says what would be removed."""

    short_name: ClassVar = "clp"
    columns: ClassVar = (
        Column(name="Mode", json_path=".spec.mode", description="DryRun or Enforce."),
        Column(name="Schedule", json_path=".spec.schedule", description="The schedule as written."),
        Column(name="Last Run", json_path=".status.lastRunTime", type="date", description="When the last run ended."),
        Column(name="Result", json_path=".status.lastRun.result", description="How the last run ended."),
        Column(
            name="Removed",
            json_path=".status.lastRun.removed",
            type="integer",
            description="Files that the last run removed; in a dry run, would have removed.",
        ),
        Column(
            name="Freed",
            json_path=".status.lastRun.freed",
            description="What the last run freed; in a dry run, would have freed.",
        ),
        Column(name="Next Run", json_path=".status.nextRunTime", description="Next slot of the schedule."),
        Column(
            name="Ready",
            json_path='.status.conditions[?(@.type=="Ready")].status',
            description="Whether the specification is understood and scheduled.",
        ),
        Column(name="Suspend", json_path=".spec.suspend", type="boolean", description="The schedule rests.", wide=True),
        Column(
            name="Message",
            json_path='.status.conditions[?(@.type=="Ready")].message',
            description="What to know about Ready.",
            wide=True,
        ),
        Column(name="Age", json_path=".metadata.creationTimestamp", type="date", description="Since it was created."),
    )
    constraints: ClassVar[tuple[Rule, ...]] = (POLICY_NAME,)

    api_version: Literal["housekeeper.dev/v1alpha1"] = "housekeeper.dev/v1alpha1"
    kind: Literal["CleanupPolicy"] = names.CLEANUP_POLICY
    spec: CleanupPolicySpec
    """What is wanted."""
    status: CleanupPolicyStatus | None = None
    """What became of it; the operator's."""
