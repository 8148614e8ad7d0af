"""The pod template of a worker: what every worker pod is allowed, and what its policy asks for within that.

The template meets Pod Security `restricted` whatever a policy says: the specification has no field that could leave it.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any, Final

from housekeeper_api import names
from housekeeper_api.quantities import parse_quantity

Object = dict[str, Any]

DEFAULT_USER: Final = 65532
"""Uid and gid of the worker where the policy says nothing."""
DEADLINE_GRACE: Final = timedelta(seconds=60)
"""What the pod's own deadline leaves beyond `timeout` and `pendingTimeout`: the last resort when the operator is away.

The kubelet counts it from when it accepts the pod, so pulling the image and attaching the volume are within it; the
operator stops an overdue worker long before (`lifecycle.WORKER_GRACE`).
"""
TERMINATION_GRACE: Final = 10
"""Seconds between SIGTERM and SIGKILL; the worker ends within 5."""
DEFAULT_RESOURCES: Final[dict[str, Object]] = {
    names.CLEANUP_POLICY: {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    # Without a limit of its own, a check of memory speaks of the node.
    names.HEALTH_CHECK: {"requests": {"cpu": "50m", "memory": "64Mi"}},
}


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """A claim in the pod."""

    name: str
    claim: str
    path: str
    read_only: bool


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerImage:
    """The worker as the chart names it: its image, and what it may use of a node."""

    image: str
    pull_policy: str
    scratch_size: str = ""
    """Most that a worker may put aside on its node, a quantity; empty: as much as the node has."""


def build_pod_template(
    *,
    kind: names.PolicyKind,
    policy: str,
    options: Object,
    mounts: tuple[Mount, ...],
    image: WorkerImage,
    scratch: bool,
    timeout: timedelta,
    pending_timeout: timedelta,
) -> Object:
    """The `template` of a worker's Job.

    `options` is `spec.pod` of the policy in the API's own spelling. The task is not in it: the admitting patch adds
    that as an annotation, which the downward API shows to the container as a file. With `scratch` it has an empty
    directory for what does not fit in memory.
    """
    wanted = options.get("securityContext") or {}
    user = wanted.get("runAsUser", DEFAULT_USER)
    security: Object = {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": wanted.get("runAsGroup", user),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    # A pod's own fsGroup lets the kubelet chown every file of the volume (with OnRootMismatch still once): each ctime
    # would be fresh, so that nothing is settled, and a cleaner has no business changing owners. The worker gets the
    # group's rights, and the files stay as they are.
    groups = [*([wanted["fsGroup"]] if "fsGroup" in wanted else []), *(wanted.get("supplementalGroups") or ())]
    if groups:
        security["supplementalGroups"] = list(dict.fromkeys(groups))
    spec: Object = {
        "activeDeadlineSeconds": int((timeout + pending_timeout + DEADLINE_GRACE).total_seconds()),
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": names.CONTAINER,
                "image": image.image,
                "imagePullPolicy": image.pull_policy,
                **({"env": [_scratch_limit(image.scratch_size)]} if scratch and image.scratch_size else {}),
                "resources": options.get("resources") or DEFAULT_RESOURCES[kind],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "terminationMessagePolicy": "File",
                "volumeMounts": [
                    {"name": "task", "mountPath": names.TASK_DIRECTORY, "readOnly": True},
                    *(_mount(mount) for mount in mounts),
                    *([{"name": names.SCRATCH_VOLUME, "mountPath": names.SCRATCH_MOUNT}] if scratch else []),
                ],
            }
        ],
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": security,
        # Process 1 of a namespace has no default actions: a SIGTERM before the worker's handlers are set would be lost.
        # Here the pod's sandbox is process 1, and what comes so early ends the worker.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": TERMINATION_GRACE,
        "volumes": [
            {
                "name": "task",
                "downwardAPI": {
                    "items": [
                        {
                            "path": names.TASK_FILE.rpartition("/")[2],
                            "fieldRef": {
                                "apiVersion": "v1",
                                "fieldPath": f"metadata.annotations['{names.TASK_ANNOTATION}']",
                            },
                        }
                    ]
                },
            },
            *(_volume(mount) for mount in mounts),
            *([_scratch(image.scratch_size)] if scratch else []),
        ],
    }
    for member in ("nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets"):
        if options.get(member):
            spec[member] = options[member]
    return {
        "metadata": {
            "labels": {**(options.get("labels") or {}), **labels(kind, policy)},
            "annotations": dict(options.get("annotations") or {}),
        },
        "spec": spec,
    }


def labels(kind: names.PolicyKind, policy: str) -> dict[str, str]:
    """The labels of everything that is made for a policy."""
    return {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.KIND_LABEL: kind,
        names.POLICY_LABEL: policy,
    }


def _mount(mount: Mount) -> Object:
    mounted: Object = {"name": mount.name, "mountPath": mount.path}
    if mount.read_only:
        # The kernel then holds a dry run to its word, for mounts below the volume's root too.
        mounted |= {"readOnly": True, "recursiveReadOnly": "IfPossible"}
    return mounted


def _scratch(size: str) -> Object:
    return {"name": names.SCRATCH_VOLUME, "emptyDir": {"sizeLimit": size} if size else {}}


def _scratch_limit(size: str) -> Object:
    # The kubelet measures the directory as `du` does, and what lies there has no name. So the worker counts by itself.
    return {"name": names.SCRATCH_LIMIT, "value": str(int(parse_quantity(size)))}


def _volume(mount: Mount) -> Object:
    # readOnly on the claim itself keeps the kubelet from changing the ownership of its files (fsGroup) in a dry run.
    source: Object = {"claimName": mount.claim}
    if mount.read_only:
        source["readOnly"] = True
    return {"name": mount.name, "persistentVolumeClaim": source}
