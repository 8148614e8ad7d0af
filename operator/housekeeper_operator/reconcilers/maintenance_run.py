"""MaintenanceRuns: the life of each, one step at a time (`decisions.lifecycle`)."""

from __future__ import annotations

from datetime import datetime, timedelta

from housekeeper_api import names
from housekeeper_api.conditions import GOOD_STATES, IDLE_STATES, TERMINAL_STATES, RunState
from housekeeper_api.task import Task, TaskError
from housekeeper_operator import policies
from housekeeper_operator.cluster import kinds
from housekeeper_operator.cluster.errors import AlreadyExists, Conflict, Invalid, NotFound
from housekeeper_operator.context import Context
from housekeeper_operator.decisions import lifecycle, run_status
from housekeeper_operator.decisions.approval import Successor, successor_of
from housekeeper_operator.decisions.run_status import Started
from housekeeper_operator.decisions.step import Decision, mode_of_run
from housekeeper_operator.decisions.views import (
    JobView,
    Object,
    PodView,
    RunView,
    controller_of,
    format_time,
    is_controlled_by,
    target_name,
)
from housekeeper_operator.desired.job import build_job
from housekeeper_operator.desired.pod import WorkerImage
from housekeeper_operator.desired.run import owner_reference
from housekeeper_operator.reconcilers import lookup
from housekeeper_operator.routing import QUEUE_KEY
from housekeeper_operator.workqueue import Key


class RunReconciler:
    """Gathers what a run's next step depends on, decides it, and carries it out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> datetime | None:
        """One step of the run; returns when to look again."""
        run = self._context.store.get(names.MAINTENANCE_RUN, key.namespace, key.name)
        if run is None or "deletionTimestamp" in run["metadata"]:
            return None
        view = RunView.of(run)
        if view.terminal:
            return await self._after_end(run, view)
        found = lookup.policy_of_run(self._context.store, view)
        if found is not None and controller_of(run) is None:
            run = await self._own(run, found[0], found[1])
        policy = lookup.view_of_policy(self._context.store, *found) if found is not None else None
        job = lookup.job_of_run(self._context.store, run, view)
        if job is None and (view.job or view.of_slot) and view.state is not RunState.HELD:
            job = await self._job_in_the_api(run, view)
        pods = [PodView.of(pod) for pod in lookup.pods_of_job(self._context.store, job)] if job is not None else []
        if job is not None and not pods and view.active and JobView.of(job).finished is not None:
            pods = await self._pods_in_the_api(job)
        events = await self._warnings(view, job, pods) if view.active else ""
        decision = lifecycle.decide(
            view,
            policy,
            JobView.of(job) if job is not None else None,
            pods,
            events,
            self._context.now(),
            successor=self._successor(view, found),
        )
        if view.state is RunState.HELD and job is not None:
            await self._mark_job(view, job)
        await self._apply(run, view, decision, found, job, pods)
        return decision.again

    def _successor(self, view: RunView, found: tuple[names.PolicyKind, Object] | None) -> Successor | None:
        """What replaces the held plan of a run, if it has one and something does."""
        if view.state is not RunState.HELD or found is None:
            return None
        others = self._context.store.owned_by(found[1]["metadata"]["uid"], names.MAINTENANCE_RUN)
        return successor_of(view, map(RunView.of, others))

    async def _own(self, run: Object, kind: names.PolicyKind, policy: Object) -> Object:
        """Make the policy the owner of a run that a user made, so that both go together."""
        uid = policy["metadata"]["uid"]
        others = [owner for owner in run["metadata"].get("ownerReferences") or [] if owner["uid"] != uid]
        patch = {"metadata": {"ownerReferences": [*others, owner_reference(kind, policy)]}}
        return await self._context.cluster.patch(
            names.MAINTENANCE_RUN,
            run["metadata"]["namespace"],
            run["metadata"]["name"],
            patch,
            resource_version=run["metadata"]["resourceVersion"],
        )

    async def _job_in_the_api(self, run: Object, view: RunView) -> Object | None:
        """Before a Job counts as deleted, the API server itself is asked: the watch may be behind."""
        try:
            job = await self._context.cluster.get(kinds.JOB, view.namespace, view.job or view.name)
        except NotFound:
            return None
        self._context.store.put(kinds.JOB, job)
        return lookup.job_of_run(self._context.store, run, view)

    async def _pods_in_the_api(self, job: Object) -> list[PodView]:
        """Before a result counts as lost, the API server itself is asked: Jobs and pods are watched apart."""
        meta = job["metadata"]
        selector = f"batch.kubernetes.io/controller-uid={meta['uid']}"
        found = await self._context.cluster.list(kinds.POD, namespace=meta["namespace"], label_selector=selector)
        return [PodView.of(pod) for pod in found if is_controlled_by(pod, job)]

    async def _warnings(self, view: RunView, job: Object | None, pods: list[PodView]) -> str:
        """The newest warning Event about what an attempt waits for; empty while it runs or is fresh."""
        if job is None or any(pod.started or pod.ended for pod in pods) or view.admitted is None:
            return ""
        if self._context.now() < view.admitted + lifecycle.POD_START_GRACE:
            return ""
        subject = pods[-1].uid if pods else job["metadata"]["uid"]
        events = await self._context.cluster.list(
            kinds.EVENT, namespace=view.namespace, field_selector=f"involvedObject.uid={subject},type=Warning"
        )
        newest = max(
            events, key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""), default=None
        )
        return str(newest.get("message", ""))[:400] if newest is not None else ""

    async def _apply(
        self,
        run: Object,
        view: RunView,
        decision: Decision,
        found: tuple[names.PolicyKind, Object] | None,
        job: Object | None,
        pods: list[PodView],
    ) -> None:
        cluster = self._context.cluster
        if decision.start_attempt and found is not None:
            await self._start_attempt(run, view, found, decision.start_attempt)
            return
        if decision.stop_pod is not None:
            await self._stop(view, decision.stop_pod)
        if decision.adopt_job and job is not None:
            # From now on this Job without its run reads as one whose run was deleted.
            label = {"metadata": {"labels": {names.RUN_LABEL: names.label_value(view.name)}}}
            await cluster.patch(kinds.JOB, view.namespace, job["metadata"]["name"], label)
        if decision.settle_slots and found is not None:
            await settle_slots(self._context, *found)
        if decision.state is RunState.ADMITTED and job is not None:
            # Started by an operator that ended before it could say so.
            status = run_status.admitted(run, view, started_with(job), self._context.now())
        else:
            status = run_status.status_after(run, view, decision, pods, self._context.now())
        if status:
            run = await cluster.patch(
                names.MAINTENANCE_RUN,
                view.namespace,
                view.name,
                {"status": status},
                subresource="status",
                resource_version=run["metadata"]["resourceVersion"],
            )
        if decision.delete_job and job is not None:
            # After the status: a Job that is gone while its run says Queued reads as deleted by somebody else.
            await cluster.delete(kinds.JOB, view.namespace, job["metadata"]["name"], uid=job["metadata"]["uid"])
        if decision.state is not None or decision.adopt_job:
            self._context.queue.add(QUEUE_KEY)
            if decision.state in TERMINAL_STATES:
                self._context.queue.add(Key(view.policy_kind, view.namespace, view.policy))
                self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
            self._tell(run, view, decision, found)

    async def _start_attempt(
        self, run: Object, view: RunView, found: tuple[names.PolicyKind, Object], attempt: int
    ) -> None:
        """Make the suspended Job of an attempt, then say so. Twice is once: its name follows from the run."""
        kind, policy_object = found
        policy = policies.parse(kind, policy_object)
        mode = mode_of_run(view, policy.mode)
        template = policy.template(mode, worker_image(self._context))
        job = build_job(view, kind, template, attempt)
        try:
            await self._context.cluster.create(kinds.JOB, job)
        except AlreadyExists:
            existing = await self._context.cluster.get(kinds.JOB, view.namespace, job["metadata"]["name"])
            if "deletionTimestamp" in existing["metadata"]:
                raise Conflict(f"Job {job['metadata']['name']} of an earlier try is still being deleted") from None
            if not is_controlled_by(existing, run):
                message = f"Job {job['metadata']['name']} exists and is not of this run; delete it or rename the run."
                await self._fail(run, view, "NameConflict", message)
                return
        except Invalid as error:
            await self._fail(run, view, "InvalidSpec", f"The API server refuses the Job: {error}")
            return
        status = run_status.queued_again(run, view, job["metadata"]["name"], self._context.now())
        await self._context.cluster.patch(
            names.MAINTENANCE_RUN,
            view.namespace,
            view.name,
            {"status": status},
            subresource="status",
            resource_version=run["metadata"]["resourceVersion"],
        )
        self._context.queue.add(QUEUE_KEY)
        if view.state is RunState.HELD:
            self._event(run, found, "Approved", f"{view.name}: its plan {view.approve} is approved.", good=True)

    async def _fail(self, run: Object, view: RunView, reason: str, message: str) -> None:
        decision = Decision(state=RunState.FAILED, reason=reason, message=message)
        await self._apply(run, view, decision, None, None, [])

    async def _stop(self, view: RunView, pod: PodView) -> None:
        """Let the kubelet end a pod so that it can still be read: deleting it would take its message along."""
        try:
            await self._context.cluster.patch(
                kinds.POD, view.namespace, pod.name, {"spec": {"activeDeadlineSeconds": 1}}
            )
        except NotFound:
            return

    def _tell(
        self, run: Object, view: RunView, decision: Decision, found: tuple[names.PolicyKind, Object] | None
    ) -> None:
        state = decision.state
        if state is None or (state not in TERMINAL_STATES and state not in {RunState.BACKOFF, RunState.HELD}):
            return
        reason = decision.reason if state is RunState.SKIPPED else str(state)
        self._event(run, found, reason, f"{view.name}: {decision.message}", good=state in GOOD_STATES | IDLE_STATES)

    def _event(
        self, run: Object, found: tuple[names.PolicyKind, Object] | None, reason: str, note: str, *, good: bool
    ) -> None:
        """An Event about the run, and about its policy."""
        for regarding in (run, found[1] if found is not None else None):
            if regarding is not None:
                self._context.recorder.event(
                    regarding, type="Normal" if good else "Warning", reason=reason, action="Run", note=note
                )

    async def _mark_job(self, view: RunView, job: Object) -> None:
        """Its result is taken: it is never adopted again, and goes after a while."""
        if JobView.of(job).recorded or JobView.of(job).finished is None:
            return
        patch = {
            "metadata": {"labels": {names.RECORDED_LABEL: "true"}},
            "spec": {"ttlSecondsAfterFinished": int(self._context.settings.job_ttl)},
        }
        try:
            await self._context.cluster.patch(kinds.JOB, view.namespace, job["metadata"]["name"], patch)
        except NotFound:
            return
        # The history may have waited for the mark before it let this run go.
        self._context.queue.add(Key(view.policy_kind, view.namespace, view.policy))

    async def _after_end(self, run: Object, view: RunView) -> datetime | None:
        """A run that has ended: its policy counts it; its Job gets a TTL; in the end it is removed itself."""
        job = lookup.job_of_run(self._context.store, run, view)
        if job is not None:
            pods = [PodView.of(pod) for pod in lookup.pods_of_job(self._context.store, job)]
            if lifecycle.is_left_over(JobView.of(job), pods):
                meta = job["metadata"]
                await self._context.cluster.delete(kinds.JOB, meta["namespace"], meta["name"], uid=meta["uid"])
                job = None
        found = lookup.policy_of_run(self._context.store, view)
        if not view.recorded:
            # A run that another controller owns is not among those that its policy counts.
            if found is not None and is_controlled_by(run, found[1]):
                self._context.queue.add(Key(found[0], view.namespace, view.policy))
                return None
            await self._context.cluster.patch(
                names.MAINTENANCE_RUN,
                view.namespace,
                view.name,
                {"status": run_status.recorded(run, counted=False, now=self._context.now())},
                subresource="status",
                resource_version=run["metadata"]["resourceVersion"],
            )
            return None
        if job is not None:
            await self._mark_job(view, job)
        due = (view.completed or view.created) + policies.span(str(run["spec"].get("ttl") or "7d"))
        if view.restorable_until is not None:
            due = max(due, view.restorable_until)
        if self._context.now() < due:
            return due
        await self._context.cluster.delete(names.MAINTENANCE_RUN, view.namespace, view.name, uid=view.uid)
        return None


def started_with(job: Object) -> Started:
    """What the task says that a started Job carries."""
    annotations = job["spec"]["template"]["metadata"].get("annotations") or {}
    try:
        task = Task.from_json(annotations.get(names.TASK_ANNOTATION, ""))
    except TaskError:
        return Started("DryRun")
    if task.cleanup is None:
        return Started(task.mode)
    target = target_name(JobView.of(job).target_claim, task.cleanup.path)
    return Started(task.mode, target, task.cleanup.approve or "")


def worker_image(context: Context) -> WorkerImage:
    """The worker's image, as the operator was told."""
    settings = context.settings
    return WorkerImage(settings.worker_image, settings.worker_image_pull_policy, settings.worker_scratch_size)


async def settle_slots(context: Context, kind: names.PolicyKind, policy: Object) -> None:
    """Let no slot up to now fire any more: what was missed while a Job was queued went with that Job."""
    cron_job = lookup.cron_job_of(context.store, kind, policy)
    if cron_job is None:
        return
    # The next whole second: a slot of this very second is past too.
    since = context.now() + timedelta(seconds=1)
    await context.cluster.patch(
        kinds.CRON_JOB,
        cron_job["metadata"]["namespace"],
        cron_job["metadata"]["name"],
        {"metadata": {"annotations": {names.SLOTS_SINCE_ANNOTATION: format_time(since)}}},
    )
