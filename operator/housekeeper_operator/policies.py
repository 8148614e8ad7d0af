"""The two kinds of policy behind one face: what reconcilers need of a CleanupPolicy or a HealthCheck."""

from __future__ import annotations

import dataclasses
import functools
import json
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from housekeeper_api import names, resolve, schedules
from housekeeper_api.cleanup_policy import CleanupPolicy, CleanupPolicySpec
from housekeeper_api.durations import Duration
from housekeeper_api.errors import InvalidResource
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.task import Mode, PastRun
from housekeeper_operator.decisions.step import PolicyView
from housekeeper_operator.decisions.views import EPOCH, Object, RunView, parse_time, target_name
from housekeeper_operator.desired.pod import Mount, WorkerImage, build_pod_template

Model = CleanupPolicy | HealthCheck


@dataclasses.dataclass(frozen=True)
class Policy:
    """A policy or check that can be carried out."""

    kind: names.PolicyKind
    model: Model

    @property
    def namespace(self) -> str:
        return self.model.metadata.namespace

    @property
    def name(self) -> str:
        return self.model.metadata.name

    @property
    def mode(self) -> Mode:
        """Checks change nothing: they count as dry."""
        return self.model.spec.mode if isinstance(self.model, CleanupPolicy) else "DryRun"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.model.spec.time_zone)

    @functools.cached_property
    def schedule(self) -> str:
        """The schedule with `H` resolved."""
        return schedules.resolve(
            self.model.spec.schedule,
            namespace=self.namespace,
            name=self.name,
            time_zone=self.model.spec.time_zone,
            kind=self.kind,
        )

    @property
    def volume(self) -> tuple[str, str] | None:
        """(namespace, claim) that a run works on alone."""
        if isinstance(self.model, CleanupPolicy):
            return self.namespace, self.model.spec.target.volume.persistent_volume_claim.claim_name
        return None

    def mounts(self, mode: Mode) -> tuple[Mount, ...]:
        """The claims of a run. Read-only but for the target of an enforcing one, and the reports."""
        if isinstance(self.model, CleanupPolicy):
            spec = self.model.spec
            claim = spec.target.volume.persistent_volume_claim.claim_name
            target = Mount(names.TARGET_VOLUME, claim, names.TARGET_MOUNT, read_only=mode != "Enforce")
            if spec.report is None:
                return (target,)
            # A dry run writes its plan there too. Two writers are no harm: each has files of its own.
            claim = spec.report.persistent_volume_claim.claim_name
            return target, Mount(names.REPORT_VOLUME, claim, names.REPORT_MOUNT, read_only=False)
        return tuple(
            Mount(
                f"volume-{volume.name}",
                volume.persistent_volume_claim.claim_name,
                f"{names.VOLUMES_DIRECTORY}/{volume.name}",
                read_only=True,
            )
            for volume in self.model.spec.volumes
        )

    @property
    def target(self) -> str:
        """Claim and directory that a run works on, such as `backups/postgres`; empty for a check."""
        if isinstance(self.model, CleanupPolicy):
            volume = self.model.spec.target.volume
            return target_name(volume.persistent_volume_claim.claim_name, volume.path or "")
        return ""

    def template(self, mode: Mode, image: WorkerImage) -> Object:
        """The pod template of a run in `mode`."""
        spec = self.model.spec
        options: dict[str, Any] = (
            spec.pod.model_dump(by_alias=True, exclude_none=True, mode="json") if spec.pod is not None else {}
        )
        return build_pod_template(
            kind=self.kind,
            policy=self.name,
            options=options,
            mounts=self.mounts(mode),
            image=image,
            scratch=isinstance(self.model, CleanupPolicy),
            timeout=span(spec.timeout),
            pending_timeout=span(spec.pending_timeout),
        )

    @property
    def needs_capacity(self) -> bool:
        """Whether its task says how large its claim is."""
        return isinstance(self.model, CleanupPolicy) and resolve.needs_capacity(self.model)

    def task_of(self, run: RunView, mode: Mode, status: Object, capacity: int | None = None) -> str:
        """The task of the current attempt of a run, as JSON. `status` and `capacity` as for `task`."""
        attempt = max(1, run.attempt)
        if run.restores and isinstance(self.model, CleanupPolicy):
            return resolve.restore_task(
                self.model, run=run.name, attempt=attempt, mode=mode, of=run.restore_of, paths=run.restore_paths
            ).to_json()
        return self.task(run.name, attempt, mode, run.approve, status, capacity, in_time=run.was_held)

    def task(
        self,
        run: str,
        attempt: int,
        mode: Mode,
        approve: str | None,
        status: Object,
        capacity: int | None = None,
        *,
        in_time: bool = False,
    ) -> str:
        """The task of one attempt, as JSON.

        `approve` is the digest of the plan that it may carry out, `in_time` whether that was held when it was approved;
        `status` is the policy's, whose numbers of past runs count if they are of the same target; `capacity` the bytes
        of the claim, if `needs_capacity` and it is known.
        """
        if isinstance(self.model, CleanupPolicy):
            past = status.get("recentRuns") or () if status.get("recentTarget") == self.target else ()
            return resolve.cleanup_task(
                self.model,
                run=run,
                attempt=attempt,
                mode=mode,
                approve=approve,
                in_time=in_time,
                state=tuple(_past_run(item) for item in past),
                capacity=capacity,
            ).to_json()
        return resolve.health_task(self.model, run=run, attempt=attempt).to_json()


def _past_run(item: Object) -> PastRun:
    """One of `recentRuns`, as a worker reads it."""
    time_ns = int((parse_time(item["time"]) or EPOCH).timestamp()) * 1_000_000_000
    return PastRun(time_ns, item["scanned"], item["matched"], item["planned"], item["removed"])


def span(duration: Duration | str) -> timedelta:
    """A duration of the API as a span of time."""
    parsed = Duration.parse(duration) if isinstance(duration, str) else duration
    return timedelta(seconds=parsed.seconds)


def parse(kind: str, obj: Object) -> Policy:
    """Read a policy. Raises `InvalidResource` with one sentence a problem, also for what CEL cannot know.

    The same specification is read once: a policy is looked at several times whenever something of it happens.
    """
    meta = {key: obj["metadata"][key] for key in ("name", "namespace", "uid")}
    return _parse(kind, json.dumps({"metadata": meta, "spec": obj["spec"]}, separators=(",", ":")))


@functools.lru_cache(maxsize=1024)
def _parse(kind: str, text: str) -> Policy:
    obj = {"apiVersion": names.API_VERSION, "kind": kind, **json.loads(text)}
    if kind == names.CLEANUP_POLICY:
        cleanup = CleanupPolicy.from_object(obj)
        problems = resolve.semantic_problems(cleanup)
        policy = Policy("CleanupPolicy", cleanup)
    else:
        check = HealthCheck.from_object(obj)
        problems = resolve.semantic_problems(check)
        policy = Policy("HealthCheck", check)
    if problems:
        raise InvalidResource(problems)
    return policy


def view_of(policy: Policy, cron_job: Object | None, problem: str = "") -> PolicyView:
    """What a run needs to know of its policy. `cron_job` is the policy's own, None when there is none (yet)."""
    spec = policy.model.spec
    annotations = (cron_job or {"metadata": {}})["metadata"].get("annotations") or {}
    return PolicyView(
        uid=policy.model.metadata.uid,
        problem=problem,
        mode=policy.mode,
        suspended=spec.suspend,
        timeout=span(spec.timeout),
        pending_timeout=span(spec.pending_timeout),
        starting_deadline=span(spec.starting_deadline),
        attempts=spec.retry.attempts,
        backoff=span(spec.retry.backoff),
        max_backoff=span(spec.retry.max_backoff),
        slots_since=parse_time(annotations.get(names.SLOTS_SINCE_ANNOTATION)),
        hold_for=span(spec.hold_for) if isinstance(spec, CleanupPolicySpec) else timedelta(),
    )


def broken_view(obj: Object, problem: str) -> PolicyView:
    """The view of a policy that cannot be read: nothing of it starts, and what runs is left to its pod's deadline."""
    hour = timedelta(hours=1)
    return PolicyView(
        uid=obj["metadata"]["uid"],
        problem=problem,
        mode="DryRun",
        suspended=False,
        timeout=timedelta(days=7),
        pending_timeout=hour,
        starting_deadline=hour,
        attempts=1,
        backoff=hour,
        max_backoff=hour,
        slots_since=None,
    )
