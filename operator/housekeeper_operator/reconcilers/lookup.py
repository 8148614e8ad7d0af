"""Finding what belongs together, by chains of owner uids and never by labels or names alone."""

from __future__ import annotations

from housekeeper_api import names
from housekeeper_api.errors import InvalidResource
from housekeeper_operator import policies
from housekeeper_operator.cluster import kinds
from housekeeper_operator.cluster.store import Store
from housekeeper_operator.decisions.step import PolicyView
from housekeeper_operator.decisions.views import Object, RunView, controller_of, is_controlled_by


def cron_job_of(store: Store, kind: names.PolicyKind, policy: Object) -> Object | None:
    """The CronJob that `policy` controls, or None when there is none, or one of that name that is not its own."""
    meta = policy["metadata"]
    cron_job = store.get(kinds.CRON_JOB, meta["namespace"], names.cron_job_name(kind, meta["name"]))
    return cron_job if cron_job is not None and is_controlled_by(cron_job, policy) else None


def policy_of_job(store: Store, job: Object) -> tuple[names.PolicyKind, Object] | None:
    """The policy whose CronJob controls `job`, or None where a link of that chain is missing or another's."""
    owner = controller_of(job)
    if owner is None or owner["kind"] != kinds.CRON_JOB:
        return None
    namespace = job["metadata"]["namespace"]
    cron_job = store.get(kinds.CRON_JOB, namespace, owner["name"])
    if cron_job is None or cron_job["metadata"]["uid"] != owner["uid"]:
        return None
    parent = controller_of(cron_job)
    if parent is None or parent["kind"] not in names.CRON_JOB_PREFIXES:
        return None
    kind: names.PolicyKind = "CleanupPolicy" if parent["kind"] == names.CLEANUP_POLICY else "HealthCheck"
    policy = store.get(kind, namespace, parent["name"])
    if policy is None or policy["metadata"]["uid"] != parent["uid"]:
        return None
    return kind, policy


def policy_of_run(store: Store, run: RunView) -> tuple[names.PolicyKind, Object] | None:
    """The policy that a run refers to. A run of an older policy of the same name has another owner uid: None."""
    kind: names.PolicyKind = "CleanupPolicy" if run.policy_kind == names.CLEANUP_POLICY else "HealthCheck"
    policy = store.get(kind, run.namespace, run.policy)
    if policy is None or "deletionTimestamp" in policy["metadata"]:
        return None
    obj = store.get(names.MAINTENANCE_RUN, run.namespace, run.name)
    owner = controller_of(obj) if obj is not None else None
    if owner is not None and owner["kind"] == kind and owner["uid"] != policy["metadata"]["uid"]:
        return None
    return kind, policy


def view_of_policy(store: Store, kind: names.PolicyKind, policy: Object) -> PolicyView:
    """The view of a policy, with its problem when it cannot be carried out."""
    try:
        parsed = policies.parse(kind, policy)
    except InvalidResource as error:
        return policies.broken_view(policy, str(error))
    return policies.view_of(parsed, cron_job_of(store, kind, policy))


def job_of_run(store: Store, run: Object, view: RunView) -> Object | None:
    """The Job of the run's current attempt; before the first, the CronJob's Job of the run's name; else None."""
    job = store.get(kinds.JOB, view.namespace, view.job or view.name)
    if job is None:
        return None
    if is_controlled_by(job, run):
        return job
    if (found := policy_of_job(store, job)) is not None and is_controlled_by(run, found[1]):
        return job
    return None


def pods_of_job(store: Store, job: Object) -> list[Object]:
    """The pods that `job` controls."""
    return [pod for pod in store.owned_by(job["metadata"]["uid"]) if pod["kind"] == kinds.POD]
