"""Every name that Housekeeper gives to something in a cluster: group, labels, annotations, objects, paths in a pod."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

GROUP: Final = "housekeeper.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

PolicyKind = Literal["CleanupPolicy", "HealthCheck"]
CLEANUP_POLICY: Final = "CleanupPolicy"
HEALTH_CHECK: Final = "HealthCheck"
MAINTENANCE_RUN: Final = "MaintenanceRun"
PLURALS: Final = {
    CLEANUP_POLICY: "cleanuppolicies",
    HEALTH_CHECK: "healthchecks",
    MAINTENANCE_RUN: "maintenanceruns",
}

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "housekeeper"
KIND_LABEL: Final = "housekeeper.dev/kind"
"""Kind of the policy that an object was made for: CleanupPolicy or HealthCheck."""
POLICY_LABEL: Final = "housekeeper.dev/policy"
"""Name of the policy that an object was made for."""
RUN_LABEL: Final = "housekeeper.dev/run"
"""Name of the MaintenanceRun that a Job or pod carries out."""
RECORDED_LABEL: Final = "housekeeper.dev/recorded"
"""`true` on a Job whose result is harvested: it is never adopted again."""

TASK_ANNOTATION: Final = "housekeeper.dev/task"
"""On the pod template: the task as JSON (`housekeeper_api.task`), written by the admitting patch."""
TEMPLATE_HASH_ANNOTATION: Final = "housekeeper.dev/template-hash"
"""On a Job: hash of everything in it that cannot be patched at admission."""
SLOTS_SINCE_ANNOTATION: Final = "housekeeper.dev/slots-since"
"""On a CronJob: slots before this time (RFC 3339) are stale. Moves with schedule, zone, unsuspend, deleted Jobs."""
SPEC_HASH_ANNOTATION: Final = "housekeeper.dev/spec-hash"
"""On a CronJob: hash of the desired object, so that an unchanged one is recognised without a write."""
SCHEDULED_TIMESTAMP_ANNOTATION: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Set by the CronJob controller on each Job: the slot, RFC 3339."""

FIELD_MANAGER: Final = "housekeeper"

MAX_POLICY_NAME: Final = 47
"""Longest `metadata.name` of a policy or check: `clp-NAME` must be a CronJob name, at most 52 characters."""

CRON_JOB_PREFIXES: Final = {CLEANUP_POLICY: "clp", HEALTH_CHECK: "hck"}

# Inside a worker pod.
CONTAINER: Final = "worker"
TASK_DIRECTORY: Final = "/etc/housekeeper"
TASK_FILE: Final = "/etc/housekeeper/task.json"
TARGET_VOLUME: Final = "target"
"""Name of the pod's volume with the claim of a CleanupPolicy."""
TARGET_MOUNT: Final = "/volumes/target"
REPORT_VOLUME: Final = "report"
"""Name of the pod's volume with the claim of `spec.report`."""
REPORT_MOUNT: Final = "/report"
"""Mounted writable in a dry run too."""
SCRATCH_VOLUME: Final = "scratch"
SCRATCH_MOUNT: Final = "/scratch"
"""An empty directory of the pod, for what does not fit in memory."""
SCRATCH_LIMIT: Final = "HOUSEKEEPER_SCRATCH_LIMIT"
"""Environment variable of the worker: bytes that it may put there. The kubelet does not count files without a name."""
VOLUMES_DIRECTORY: Final = "/volumes"
"""Claims of a HealthCheck are mounted at `/volumes/NAME`."""
TERMINATION_LOG: Final = "/dev/termination-log"


def cron_job_name(kind: PolicyKind, policy: str) -> str:
    """Name of the CronJob of a policy: `clp-NAME` or `hck-NAME`, at most 52 characters."""
    return f"{CRON_JOB_PREFIXES[kind]}-{policy}"


def slot_job_name(kind: PolicyKind, policy: str, slot_unix_minutes: int) -> str:
    """Name that the CronJob controller gives to the Job of one slot, and so of its MaintenanceRun.

    `slot_unix_minutes` is the scheduled time in whole minutes since the epoch (kubernetes/pkg/controller/cronjob).
    """
    return f"{cron_job_name(kind, policy)}-{slot_unix_minutes}"


def attempt_job_name(run: str, uid: str, attempt: int) -> str:
    """Name of the Job that the operator makes for one attempt: `RUN(≤40)-hash8-aN`, at most 63 characters.

    The hash is over the run's uid, so that a run deleted and made again under one name never meets its old Jobs.
    """
    digest = hashlib.sha256(uid.encode()).hexdigest()[:8]
    return f"{run[:40].rstrip('-.')}-{digest}-a{attempt}"


def label_value(name: str) -> str:
    """`name` as a label value: at most 63 characters; a longer name is cut and ends with a hash of the whole."""
    if len(name) <= 63:
        return name
    return f"{name[:54].rstrip('-._')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
