"""Reconcilers: gather what is observed, decide by a pure function, apply. Nothing else, and safe to run twice."""

from __future__ import annotations

from housekeeper_api import names
from housekeeper_operator.context import Context
from housekeeper_operator.reconcilers.job import JobReconciler
from housekeeper_operator.reconcilers.maintenance_run import RunReconciler
from housekeeper_operator.reconcilers.policy import PolicyReconciler
from housekeeper_operator.reconcilers.queue import QueueReconciler
from housekeeper_operator.routing import JOB_KEY, QUEUE_KEY
from housekeeper_operator.workqueue import Reconcile


def build(context: Context) -> dict[str, Reconcile]:
    """The reconciler of each `Key.kind`."""
    return {
        names.CLEANUP_POLICY: PolicyReconciler(context, names.CLEANUP_POLICY).reconcile,
        names.HEALTH_CHECK: PolicyReconciler(context, names.HEALTH_CHECK).reconcile,
        names.MAINTENANCE_RUN: RunReconciler(context).reconcile,
        JOB_KEY: JobReconciler(context).reconcile,
        QUEUE_KEY.kind: QueueReconciler(context).reconcile,
    }
