"""The queue: one reconcile over all waiting runs, which starts those that may start and tells the others why not."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime, timedelta
from typing import Final

import structlog

from housekeeper_api import names
from housekeeper_api.conditions import ConditionType, RunState
from housekeeper_api.errors import InvalidResource
from housekeeper_operator import policies
from housekeeper_operator.cluster import kinds
from housekeeper_operator.cluster.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from housekeeper_operator.context import Context
from housekeeper_operator.decisions import lifecycle, run_status
from housekeeper_operator.decisions.admission import Entry, Verdict, admit
from housekeeper_operator.decisions.run_status import Started
from housekeeper_operator.decisions.step import Decision, mode_of_run
from housekeeper_operator.decisions.views import (
    JobView,
    Object,
    PodView,
    RunView,
    claim_capacity,
    condition,
    controller_of,
    is_controlled_by,
    parse_time,
    target_claim,
)
from housekeeper_operator.desired.job import build_admission, build_job, template_hash
from housekeeper_operator.policies import Policy
from housekeeper_operator.reconcilers import lookup
from housekeeper_operator.reconcilers.maintenance_run import settle_slots, worker_image
from housekeeper_operator.workqueue import Key

log = structlog.get_logger(__name__)

FORBIDDEN_WAIT: Final = timedelta(seconds=30)
"""How long until a start that an admission policy or missing rights refused is tried again."""
LOST_AFTER: Final = timedelta(seconds=60)
"""How long after its grace a pod that is being deleted may still be there before its node counts as lost."""


class _Start(enum.Enum):
    """What came of an admission."""

    STARTED = enum.auto()
    LATER = enum.auto()
    """Not yet: its Job is being replaced, or the run has just changed. It keeps its turn."""
    REFUSED = enum.auto()
    """It cannot start as things are, and holds nobody up."""


RETRY_WAIT: Final = {_Start.LATER: timedelta(seconds=0.5), _Start.REFUSED: FORBIDDEN_WAIT}


class QueueReconciler:
    """Admits runs. There is one queue and one reconcile of it at a time, so that no place is given twice."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, _key: Key) -> datetime | None:
        """Admit what may start now; write down why the rest waits."""
        waiting: dict[tuple[str, str], tuple[Object, RunView, Policy]] = {}
        active: list[Entry] = []
        active_jobs: set[str] = set()
        look_again: list[datetime] = []
        queued = under_way = 0
        for obj in self._context.store.list(names.MAINTENANCE_RUN):
            if (condition(obj, ConditionType.SUCCEEDED) or {}).get("status") != "Unknown":
                continue
            view = RunView.of(obj)
            if "deletionTimestamp" in obj["metadata"]:
                continue
            policy = self._policy_of(view)
            job = lookup.job_of_run(self._context.store, obj, view)
            job_view = JobView.of(job) if job is not None else None
            if view.active or (view.state is RunState.QUEUED and _is_started(job_view)):
                lost_at = self._lost_at(job)
                lost = lost_at is not None and lost_at <= self._context.now()
                if lost_at is not None and not lost:
                    look_again.append(lost_at)
                under_way += 1
                active_jobs.add(job["metadata"]["uid"] if job is not None else "")
                active.append(dataclasses.replace(_active_entry(view, policy, job_view), holds_place=not lost))
            elif view.state is RunState.QUEUED:
                queued += 1
                if policy is not None:
                    waiting[view.namespace, view.name] = (obj, view, policy)
        active += self._stopping(active_jobs)
        limit = self._context.settings.max_concurrent_runs
        entries = {key: _entry(view, policy) for key, (_, view, policy) in waiting.items()}
        started = 0
        while True:
            verdicts = admit(entries.values(), active, limit=limit)
            first = next((verdict for verdict in verdicts if verdict.admitted), None)
            if first is None:
                break
            key_of_first = first.entry.namespace, first.entry.run
            del entries[key_of_first]
            attempt = await self._try(first, *waiting[key_of_first])
            started += attempt is _Start.STARTED
            if attempt is not _Start.REFUSED:
                active.append(first.entry)
            if attempt is not _Start.STARTED:
                look_again.append(self._context.now() + RETRY_WAIT[attempt])
        for verdict in verdicts:
            obj, view, _ = waiting[verdict.entry.namespace, verdict.entry.run]
            try:
                await self._explain(obj, view, verdict)
            except (Conflict, NotFound):
                look_again.append(self._context.now() + RETRY_WAIT[_Start.LATER])
        self._context.metrics.runs_queued.set(queued - started)
        self._context.metrics.runs_active.set(under_way + started)
        return min(look_again, default=None)

    async def _try(self, verdict: Verdict, obj: Object, view: RunView, policy: Policy) -> _Start:
        """Start one run; what is in its way is told on it, and is in nobody else's way."""
        try:
            return await self._admit(obj, view, policy)
        except Conflict:
            # Changed since: its own event wakes the queue again, and it keeps its turn.
            self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
            return _Start.LATER
        except NotFound:
            self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
            return _Start.REFUSED
        except Invalid as error:
            await self._refuse(obj, view, error)
            return _Start.REFUSED
        except Forbidden as error:
            await self._explain(obj, view, Verdict(verdict.entry, False, "Forbidden", str(error)[:500]))
            return _Start.REFUSED

    def _stopping(self, active_jobs: set[str]) -> list[Entry]:
        """Workers that still live although their run has ended or is gone: until they end, nobody takes their claim."""
        entries = []
        for obj in self._context.store.list(kinds.POD):
            claim, owner = target_claim(obj["spec"]), (controller_of(obj) or {}).get("uid")
            if claim and owner not in active_jobs and not PodView.of(obj).ended:
                meta = obj["metadata"]
                entries.append(
                    Entry(
                        run=meta["name"],
                        namespace=meta["namespace"],
                        created=self._context.now(),
                        policy=(kinds.POD, meta["namespace"], meta["name"]),
                        volume=(meta["namespace"], claim),
                        holds_place=False,
                    )
                )
        return entries

    def _lost_at(self, job: Object | None) -> datetime | None:
        """When a pod of a started Job that is being deleted counts as lost with its node; None if none is."""
        pods = lookup.pods_of_job(self._context.store, job) if job is not None else []
        ends = [parse_time(pod["metadata"].get("deletionTimestamp")) for pod in pods if not PodView.of(pod).ended]
        return min((end + LOST_AFTER for end in ends if end is not None), default=None)

    def _policy_of(self, view: RunView) -> Policy | None:
        found = lookup.policy_of_run(self._context.store, view)
        if found is None:
            return None
        try:
            return policies.parse(*found)
        except InvalidResource:
            return None

    async def _refuse(self, run: Object, view: RunView, error: Invalid) -> None:
        """The API server will never take it: the run fails with its words, and the others are not kept waiting."""
        message = f"The API server refuses to start its Job: {error}"
        decision = Decision(state=RunState.FAILED, reason="InvalidSpec", message=message)
        try:
            await self._context.cluster.patch(
                names.MAINTENANCE_RUN,
                view.namespace,
                view.name,
                {"status": run_status.status_after(run, view, decision, [], self._context.now())},
                subresource="status",
                resource_version=run["metadata"]["resourceVersion"],
            )
        except (Conflict, NotFound):
            self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))

    async def _admit(self, run: Object, view: RunView, policy: Policy) -> _Start:
        """Start the Job of a run, or replace it by one that is as the policy is now."""
        job = lookup.job_of_run(self._context.store, run, view)
        found = lookup.policy_of_run(self._context.store, view)
        if job is None or found is None or JobView.of(job).deleting:
            self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
            return _Start.REFUSED
        state = lookup.view_of_policy(self._context.store, *found)
        on_slot = view.of_slot and view.attempt <= 1
        stale = on_slot and lifecycle.slot_problem(view.slot, state, self._context.now(), replaced=view.replaced)
        if view.cancel or stale:
            self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
            return _Start.REFUSED
        mode = mode_of_run(view, policy.mode)
        if (view.approve is not None or view.carried_mode == "Enforce") and mode != "Enforce":
            self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
            return _Start.REFUSED
        template = policy.template(mode, worker_image(self._context))
        if JobView.of(job).template_hash != template_hash(template):
            await self._replace(run, view, policy, job, template)
            return _Start.LATER
        capacity, status = await self._capacity(policy), found[1].get("status") or {}
        task = policy.task_of(view, mode, status, capacity)
        patch = build_admission(view, job, template, task)
        try:
            await self._context.cluster.patch(
                kinds.JOB,
                view.namespace,
                job["metadata"]["name"],
                patch,
                resource_version=job["metadata"]["resourceVersion"],
            )
        except NotFound:
            self._context.queue.add(Key(names.MAINTENANCE_RUN, view.namespace, view.name))
            return _Start.REFUSED
        started = Started(mode, policy.target, view.approve or "")
        await self._context.cluster.patch(
            names.MAINTENANCE_RUN,
            view.namespace,
            view.name,
            {"status": run_status.admitted(run, view, started, self._context.now())},
            subresource="status",
            resource_version=run["metadata"]["resourceVersion"],
        )
        log.info("run admitted", run=view.name, namespace=view.namespace, policy=view.policy, mode=mode)
        return _Start.STARTED

    async def _capacity(self, policy: Policy) -> int | None:
        """Bytes of the policy's claim, where its task is to say them; None also while it is not there or bound."""
        if not policy.needs_capacity or policy.volume is None:
            return None
        try:
            return claim_capacity(await self._context.cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, *policy.volume))
        except NotFound:
            return None

    async def _replace(self, run: Object, view: RunView, policy: Policy, job: Object, template: Object) -> None:
        """A queued Job that mounts or runs what the policy no longer says cannot be patched: make another."""
        successor = build_job(view, policy.kind, template, max(1, view.attempt))
        try:
            await self._context.cluster.create(kinds.JOB, successor)
        except AlreadyExists:
            log.info("replacement exists already", job=successor["metadata"]["name"], namespace=view.namespace)
        await self._context.cluster.patch(
            names.MAINTENANCE_RUN,
            view.namespace,
            view.name,
            {"status": run_status.queued_again(run, view, successor["metadata"]["name"], self._context.now())},
            subresource="status",
            resource_version=run["metadata"]["resourceVersion"],
        )
        found = lookup.policy_of_run(self._context.store, view)
        if found is not None and view.slot is not None and not is_controlled_by(job, run):
            # After the status, which says that this run no longer hangs on its slot; before the deletion, which frees
            # the CronJob to fire what it missed.
            await settle_slots(self._context, *found)
        await self._context.cluster.delete(
            kinds.JOB, view.namespace, job["metadata"]["name"], uid=job["metadata"]["uid"]
        )
        log.info("job replaced", run=view.name, namespace=view.namespace, job=successor["metadata"]["name"])

    async def _explain(self, run: Object, view: RunView, verdict: Verdict) -> None:
        """Say on the run itself why it waits. The sentence names what is in the way, so it changes when that does."""
        if (view.queue_reason, view.queue_message) == (verdict.reason, verdict.message):
            return
        await self._context.cluster.patch(
            names.MAINTENANCE_RUN,
            view.namespace,
            view.name,
            {"status": {"queue": {"reason": verdict.reason, "message": verdict.message}}},
            subresource="status",
            resource_version=run["metadata"]["resourceVersion"],
        )


def _entry(view: RunView, policy: Policy | None) -> Entry:
    return Entry(
        run=view.name,
        namespace=view.namespace,
        created=view.created,
        policy=(view.policy_kind, view.namespace, view.policy),
        volume=policy.volume if policy is not None else None,
    )


def _is_started(job: JobView | None) -> bool:
    """Whether a Job is started, although the status of its run does not say so yet."""
    return job is not None and not job.suspended and job.finished is None


def _active_entry(view: RunView, policy: Policy | None, job: JobView | None) -> Entry:
    """The entry of a run under way: it works on the claim that its Job mounts, whatever its policy says by now."""
    entry = _entry(view, policy)
    if job is None:
        return entry
    return dataclasses.replace(entry, volume=(view.namespace, job.target_claim) if job.target_claim else None)
