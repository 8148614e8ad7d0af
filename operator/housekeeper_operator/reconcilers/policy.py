"""Policies and checks: their CronJob, their status, the counting and the history of their runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from housekeeper_api import names
from housekeeper_api.conditions import ConditionType, ReadyReason, RunState
from housekeeper_api.errors import InvalidResource
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.next_slot import next_time
from housekeeper_operator import policies
from housekeeper_operator.cluster import kinds
from housekeeper_operator.cluster.errors import AlreadyExists, Forbidden, Invalid
from housekeeper_operator.context import Context
from housekeeper_operator.decisions import conditions, health, history, policy_status, run_status, totals
from housekeeper_operator.decisions.views import (
    FAR,
    JobView,
    Object,
    RunView,
    condition,
    format_time,
    is_controlled_by,
    parse_time,
)
from housekeeper_operator.desired.cron_job import build_cron_job, is_current, merge_into
from housekeeper_operator.policies import Policy
from housekeeper_operator.reconcilers import lookup
from housekeeper_operator.reconcilers.maintenance_run import worker_image
from housekeeper_operator.routing import JOB_KEY, QUEUE_KEY
from housekeeper_operator.telemetry.domain import observe_run, show_checks, show_last_success
from housekeeper_operator.workqueue import Key

MARK_WAIT: Final = timedelta(seconds=30)
"""How long until a run that is due to go is looked at again, while its Job is not marked as recorded."""
PROBLEM_RETRY: Final = timedelta(seconds=60)
"""How long until a CronJob that could not be made is tried again."""

Problem = tuple[str, str]
"""(reason, message) of Ready=False."""


class PolicyReconciler:
    """Brings one kind of policy to what it says."""

    def __init__(self, context: Context, kind: names.PolicyKind) -> None:
        self._context = context
        self._kind = kind

    async def reconcile(self, key: Key) -> datetime | None:
        """CronJob, status, history; returns when the next slot or the end of a kept run is due."""
        obj = self._context.store.get(self._kind, key.namespace, key.name)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            # What it owned goes with it, by the garbage collector, whether we are here or not.
            self._context.metrics.forget(self._kind, key.namespace, key.name)
            self._context.queue.add(QUEUE_KEY)
            return None
        policy: Policy | None = None
        problem: Problem | None = None
        try:
            policy = policies.parse(self._kind, obj)
            problem = await self._schedule(obj, policy)
        except InvalidResource as error:
            problem = ReadyReason.INVALID_SPEC, str(error)
            await self._stop_schedule(obj)
        runs = [
            (RunView.of(run), run)
            for run in self._context.store.owned_by(obj["metadata"]["uid"], names.MAINTENANCE_RUN)
        ]
        obj = await self._write_status(obj, policy, problem, runs)
        self._show(obj)
        await self._mark_recorded(obj, runs)
        self._wake_queued(runs)
        self._wake_jobs_without_run(obj)
        if policy is None:
            return None
        due = await self._trim_history(policy, runs)
        following = parse_time((obj.get("status") or {}).get("nextRunTime"))
        # A moment after the slot, when the controller has made its Job.
        slot = following + timedelta(seconds=1) if following is not None else None
        # What is in the way (a foreign CronJob, a quota) may go without an event that reaches us.
        retry = self._context.now() + PROBLEM_RETRY if problem is not None else None
        return min((moment for moment in (due, slot, retry) if moment is not None), default=None)

    async def _schedule(self, obj: Object, policy: Policy) -> Problem | None:
        """Make the CronJob as the policy says. Returns what is in the way."""
        meta = obj["metadata"]
        name = names.cron_job_name(self._kind, meta["name"])
        existing = self._context.store.get(kinds.CRON_JOB, meta["namespace"], name)
        message = (
            f"CronJob {name} exists and does not belong to this {self._kind}; it was left alone. "
            "Delete or rename it, or rename the policy."
        )
        conflict = ReadyReason.NAME_CONFLICT, message
        try:
            if existing is None:
                existing = await self._create_cron_job(self._desired(obj, policy, None))
            if not is_controlled_by(existing, obj):
                return conflict
            desired = self._desired(obj, policy, existing)
            if not is_current(existing, desired):
                await self._context.cluster.replace(kinds.CRON_JOB, merge_into(existing, desired))
        except Invalid as error:
            return ReadyReason.INVALID_SPEC, f"The API server refuses the CronJob: {error}"
        except Forbidden as error:
            return ReadyReason.FORBIDDEN, f"The API server does not let the operator make the CronJob: {error}"
        return None

    async def _create_cron_job(self, desired: Object) -> Object:
        """Create a CronJob and return it, or the one that has its name already.

        One without our labels is not watched, and one just made may not have been seen yet: only the server knows.
        """
        try:
            return await self._context.cluster.create(kinds.CRON_JOB, desired)
        except AlreadyExists:
            meta = desired["metadata"]
            return await self._context.cluster.get(kinds.CRON_JOB, meta["namespace"], meta["name"])

    def _desired(self, obj: Object, policy: Policy, existing: Object | None) -> Object:
        spec = policy.model.spec
        schedule, zone = policy.schedule, spec.time_zone
        # The next whole second: a slot of this very second is past too.
        since = self._context.now() + timedelta(seconds=1)
        if existing is not None:
            was = existing["spec"]
            moved = was.get("schedule") != schedule or was.get("timeZone") != zone
            resumed = bool(was.get("suspend")) and not spec.suspend
            known = parse_time((existing["metadata"].get("annotations") or {}).get(names.SLOTS_SINCE_ANNOTATION))
            if known is not None and not moved and not resumed:
                since = known
        return build_cron_job(
            obj,
            self._kind,
            schedule=schedule,
            time_zone=zone,
            suspend=spec.suspend,
            starting_deadline_seconds=int(policies.span(spec.starting_deadline).total_seconds()),
            template=policy.template(policy.mode, worker_image(self._context)),
            slots_since=since,
        )

    async def _stop_schedule(self, obj: Object) -> None:
        """A policy that cannot be understood any more does not go on under its old rules."""
        cron_job = lookup.cron_job_of(self._context.store, self._kind, obj)
        if cron_job is not None and not cron_job["spec"].get("suspend"):
            meta = cron_job["metadata"]
            await self._context.cluster.patch(
                kinds.CRON_JOB, meta["namespace"], meta["name"], {"spec": {"suspend": True}}
            )

    async def _write_status(
        self, obj: Object, policy: Policy | None, problem: Problem | None, runs: list[tuple[RunView, Object]]
    ) -> Object:
        now = self._context.now()
        before: Object = obj.get("status") or {}
        status: Object = {"consecutiveFailures": 0, "totals": totals.none_of(self._kind), **before}
        newly_counted = totals.to_count(before, runs)
        status = totals.count(status, runs)
        for view, run in newly_counted:
            if policy is not None and isinstance(policy.model, HealthCheck):
                status = self._fold_checks(status, policy.model, view, run, now)
        if policy is not None and isinstance(policy.model, HealthCheck) and status.get("checks"):
            configured = {item.name for item in policy.model.spec.checks}
            status["checks"] = [item for item in status["checks"] if item["name"] in configured]
            status["summary"] = health.summary(status["checks"])
        generation = int(obj["metadata"].get("generation") or 0)
        suspended = policy is not None and policy.model.spec.suspend
        wanted = [
            policy_status.ready(
                problem,
                suspended=suspended,
                schedule=policy.schedule if policy is not None else "",
                generation=generation,
            ),
            policy_status.running((view for view, _ in runs), generation),
            policy_status.degraded(status, generation),
        ]
        if self._kind == names.CLEANUP_POLICY:
            wanted.append(policy_status.held((view for view, _ in runs), generation))
        if policy is not None and isinstance(policy.model, HealthCheck):
            wanted.append(self._healthy(status, policy.model, generation))
        status["conditions"] = conditions.merged(before.get("conditions") or [], wanted, now)
        status["observedGeneration"] = generation
        following = None
        if policy is not None:
            status["schedule"] = policy.schedule
            if problem is None and not suspended:
                following = self._next_slot(before, policy, generation, now)
        status["nextRunTime"] = format_time(following) if following is not None else None
        patch = {key: value for key, value in status.items() if before.get(key) != value}
        if not patch:
            return obj
        updated = await self._context.cluster.patch(
            self._kind,
            obj["metadata"]["namespace"],
            obj["metadata"]["name"],
            {"status": patch},
            subresource="status",
            resource_version=obj["metadata"]["resourceVersion"],
        )
        self._tell(before, updated, newly_counted)
        return updated

    def _next_slot(self, before: Object, policy: Policy, generation: int, now: datetime) -> datetime | None:
        """The next slot; what stands in the status is still right while it lies ahead and the policy is the same."""
        known = parse_time(before.get("nextRunTime"))
        same = before.get("observedGeneration") == generation and before.get("schedule") == policy.schedule
        if known is not None and known > now and same:
            return known
        return next_time(policy.schedule, policy.zone, now)

    def _fold_checks(self, status: Object, check: HealthCheck, view: RunView, run: Object, now: datetime) -> Object:
        if view.state in {RunState.SKIPPED, RunState.CANCELLED}:
            return status
        report = ((run.get("status") or {}).get("result") or {}).get("health")
        checks = health.fold_checks(
            status.get("checks") or [],
            report["checks"] if report else None,
            [item.name for item in check.spec.checks],
            view.message,
            view.completed or now,
        )
        return {**status, "checks": checks, "summary": health.summary(checks)}

    def _healthy(self, status: Object, check: HealthCheck, generation: int) -> Object:
        was = next(
            (item["status"] for item in status.get("conditions") or [] if item["type"] == ConditionType.HEALTHY),
            None,
        )
        if not status.get("checks"):
            verdict: tuple[bool | None, str, str] = None, "NotCheckedYet", "No run has ended yet."
        else:
            verdict = health.healthy(
                status["checks"],
                was,
                failure_threshold=check.spec.failure_threshold,
                success_threshold=check.spec.success_threshold,
            )
        return conditions.make(
            ConditionType.HEALTHY, status=verdict[0], reason=verdict[1], message=verdict[2], generation=generation
        )

    def _tell(self, before: Object, obj: Object, counted: list[tuple[RunView, Object]]) -> None:
        """Metrics of the runs just counted, and an Event when Ready or Healthy changed."""
        metrics = self._context.metrics
        for view, run in counted:
            removed, freed = totals.removed_and_freed(run)
            status = run.get("status") or {}
            observe_run(
                metrics,
                kind=self._kind,
                namespace=view.namespace,
                policy=view.policy,
                result=str(view.state),
                trigger=view.trigger,
                mode=str(status.get("mode") or "DryRun"),
                duration=float(status.get("durationSeconds") or 0) if status.get("startTime") else None,
                removed=removed,
                freed=freed,
                quarantined=totals.quarantined(run),
            )
        for kind, bad in ((ConditionType.READY, "False"), (ConditionType.HEALTHY, "False")):
            new = condition(obj, kind)
            old = condition({"status": before}, kind)
            if new is None or (old is not None and old["status"] == new["status"]):
                continue
            if old is None and new["status"] != bad:
                continue
            self._context.recorder.event(
                obj,
                type="Warning" if new["status"] == bad else "Normal",
                reason=new["reason"],
                action="Reconcile" if kind is ConditionType.READY else "Check",
                note=f"{kind}={new['status']}: {new['message']}",
            )

    def _show(self, obj: Object) -> None:
        """The gauges of a policy, from its status: after a restart, and without checks that it no longer has."""
        meta, status = obj["metadata"], obj.get("status") or {}
        show_last_success(
            self._context.metrics,
            kind=self._kind,
            namespace=meta["namespace"],
            policy=meta["name"],
            succeeded_at=parse_time(status.get("lastSuccessTime")),
        )
        if self._kind == names.CLEANUP_POLICY:
            held = (condition(obj, ConditionType.HELD) or {}).get("status") == "True"
            self._context.metrics.plan_held.labels(meta["namespace"], meta["name"]).set(held)
        if self._kind == names.HEALTH_CHECK:
            show_checks(
                self._context.metrics,
                namespace=meta["namespace"],
                policy=meta["name"],
                checks=status.get("checks") or [],
            )

    async def _mark_recorded(self, obj: Object, runs: list[tuple[RunView, Object]]) -> None:
        counted = set((obj.get("status") or {}).get("recordedRuns") or ())
        for view, run in runs:
            if view.terminal and not view.recorded and view.uid in counted:
                await self._context.cluster.patch(
                    names.MAINTENANCE_RUN,
                    view.namespace,
                    view.name,
                    {"status": run_status.recorded(run, counted=True, now=self._context.now())},
                    subresource="status",
                    resource_version=run["metadata"]["resourceVersion"],
                )

    def _wake_queued(self, runs: list[tuple[RunView, Object]]) -> None:
        """Runs in the queue look at the policy again: it may be suspended, or on another schedule."""
        for view, _ in runs:
            if not view.terminal:
                self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))

    def _wake_jobs_without_run(self, obj: Object) -> None:
        """Jobs of the CronJob whose run somebody deleted: no event of their own would ever come."""
        cron_job = lookup.cron_job_of(self._context.store, self._kind, obj)
        if cron_job is None:
            return
        for job in self._context.store.owned_by(cron_job["metadata"]["uid"], kinds.JOB):
            meta = job["metadata"]
            if self._context.store.get(names.MAINTENANCE_RUN, meta["namespace"], meta["name"]) is None:
                self._context.queue.add(Key(JOB_KEY, meta["namespace"], meta["name"]))

    async def _trim_history(self, policy: Policy, runs: list[tuple[RunView, Object]]) -> datetime | None:
        spec: Any = policy.model.spec.history
        surplus, due = history.surplus(
            (view for view, _ in runs),
            succeeded=spec.succeeded,
            failed=spec.failed,
            ttl=policies.span(spec.ttl),
            now=self._context.now(),
        )
        for view in surplus:
            job = self._context.store.get(kinds.JOB, view.namespace, view.job)
            if job is not None and not JobView.of(job).recorded:
                # Its Job would be taken for a new one: it is marked first, and looked at again then.
                self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
                due = min(due or FAR, self._context.now() + MARK_WAIT)
                continue
            await self._context.cluster.delete(names.MAINTENANCE_RUN, view.namespace, view.name, uid=view.uid)
        return due
