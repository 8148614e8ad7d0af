"""Jobs that a CronJob made: each gets a MaintenanceRun of its own name, which is its place in the queue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from housekeeper_api import names
from housekeeper_api.conditions import RunState
from housekeeper_operator.cluster import kinds
from housekeeper_operator.cluster.errors import AlreadyExists, NotFound
from housekeeper_operator.context import Context
from housekeeper_operator.decisions.views import JobView, Object, RunView, controller_of, is_controlled_by
from housekeeper_operator.desired.run import build_scheduled_run
from housekeeper_operator.reconcilers import lookup
from housekeeper_operator.reconcilers.maintenance_run import settle_slots
from housekeeper_operator.routing import QUEUE_KEY
from housekeeper_operator.workqueue import Key

UNSETTLED_WAIT: Final = timedelta(seconds=1)


class JobReconciler:
    """Adopts Jobs, and passes news of Jobs and pods on to the run that they carry out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> datetime | None:
        """Adopt the Job if it is one of a slot that has no run yet; wake its run."""
        store = self._context.store
        job = store.get(kinds.JOB, key.namespace, key.name)
        if job is None:
            # Its pod may have kept a volume taken until now.
            self._context.queue.add(QUEUE_KEY)
            return None
        owner = controller_of(job)
        if owner is not None and owner["kind"] == names.MAINTENANCE_RUN:
            self._context.queue.add(Key(names.MAINTENANCE_RUN, key.namespace, owner["name"]))
            return None
        found = lookup.policy_of_job(store, job)
        if found is None:
            return None
        kind, policy = found
        view = JobView.of(job)
        run = store.get(names.MAINTENANCE_RUN, key.namespace, key.name)
        if run is not None and _is_superseded(view, RunView.of(run)):
            await settle_slots(self._context, kind, policy)
            await self._context.cluster.delete(kinds.JOB, key.namespace, key.name, uid=view.uid)
            return None
        settled = view.recorded or view.deleting or view.finished is not None
        if run is not None and not settled and not is_controlled_by(run, policy):
            await self._give_up(kind, policy, job, f"a MaintenanceRun {key.name} of something else has its name")
            return None
        if run is None:
            if view.recorded or view.deleting:
                return None
            if names.RUN_LABEL in (job["metadata"].get("labels") or {}):
                await self._after_deleted_run(kind, policy, job)
                return None
            if self._unsettled(policy, view):
                return self._context.now() + UNSETTLED_WAIT
            ttl = str((policy["spec"].get("history") or {}).get("ttl") or "7d")
            try:
                await self._context.cluster.create(names.MAINTENANCE_RUN, build_scheduled_run(kind, policy, job, ttl))
            except AlreadyExists:
                # A user's run of that name, or our own that the watch has not shown yet: it decides by itself.
                self._context.queue.add_at(
                    Key(names.MAINTENANCE_RUN, key.namespace, key.name), self._context.now() + UNSETTLED_WAIT
                )
                return None
        self._context.queue.add(Key(names.MAINTENANCE_RUN, key.namespace, key.name))
        return None

    async def _after_deleted_run(self, kind: names.PolicyKind, policy: Object, job: Object) -> None:
        """A Job that had a run, which somebody deleted: who deletes a run does not want it to go on."""
        meta = job["metadata"]
        try:
            await self._context.cluster.get(names.MAINTENANCE_RUN, meta["namespace"], meta["name"])
        except NotFound:
            if JobView.of(job).finished is None:
                await self._give_up(kind, policy, job, "its MaintenanceRun was deleted")

    async def _give_up(self, kind: names.PolicyKind, policy: Object, job: Object, why: str) -> None:
        """Delete a slot's Job that no run will carry out; a suspended one would block its CronJob for ever."""
        meta = job["metadata"]
        await settle_slots(self._context, kind, policy)
        await self._context.cluster.delete(kinds.JOB, meta["namespace"], meta["name"], uid=meta["uid"])
        self._context.recorder.event(
            policy, type="Warning", reason="JobGivenUp", action="Run", note=f"Job {meta['name']} was deleted: {why}."
        )

    def _unsettled(self, policy: Object, job: JobView) -> bool:
        """Whether an earlier slot's Job is still open in our eyes.

        `Forbid` lets the CronJob make this one only when that one is gone, so its end (or deletion) is on its way to
        us. It decides from when on slots count, so this slot waits for it.
        """
        for obj in self._context.store.owned_by(policy["metadata"]["uid"], names.MAINTENANCE_RUN):
            run = RunView.of(obj)
            on_cron_job = run.job in {"", run.name}
            both_slots = run.slot is not None and job.slot is not None and run.name != job.name
            # A held plan waits for a person; its Job has ended, and its schedule goes on.
            open_attempt = not run.terminal and run.state is not RunState.HELD and run.next_attempt is None
            if both_slots and on_cron_job and open_attempt:
                self._context.queue.add(Key(names.MAINTENANCE_RUN, run.namespace, run.name))
                return True
        return False


def _is_superseded(job: JobView, run: RunView) -> bool:
    """Whether the run of this queued Job goes on with another one: the delete that belongs to that was not done."""
    return run.job not in {"", job.name} and job.suspended and job.finished is None and not job.deleting
