"""The two kinds of policy behind one face: what reconcilers need of a CleanupPolicy or a HealthCheck."""

from __future__ import annotations

import dataclasses
import functools
import json
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from housekeeper_api import names, resolve, schedules
from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.durations import Duration
from housekeeper_api.errors import InvalidResource
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.task import Mode
from housekeeper_operator.decisions.lifecycle import PolicyView
from housekeeper_operator.decisions.views import Object, parse_time
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
        """The claims of a run. Read-only but for the target of an enforcing one."""
        if isinstance(self.model, CleanupPolicy):
            claim = self.model.spec.target.volume.persistent_volume_claim.claim_name
            return (Mount(names.TARGET_VOLUME, claim, names.TARGET_MOUNT, read_only=mode != "Enforce"),)
        return tuple(
            Mount(
                f"volume-{volume.name}",
                volume.persistent_volume_claim.claim_name,
                f"{names.VOLUMES_DIRECTORY}/{volume.name}",
                read_only=True,
            )
            for volume in self.model.spec.volumes
        )

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
            timeout=span(spec.timeout),
            pending_timeout=span(spec.pending_timeout),
        )

    def task(self, run: str, attempt: int, mode: Mode) -> str:
        """The task of one attempt, as JSON."""
        if isinstance(self.model, CleanupPolicy):
            return resolve.cleanup_task(self.model, run=run, attempt=attempt, mode=mode).to_json()
        return resolve.health_task(self.model, run=run, attempt=attempt).to_json()


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
