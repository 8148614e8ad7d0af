"""Jobs: one attempt each, born suspended; and what of a Job cannot be changed once it exists."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from housekeeper_api import names
from housekeeper_operator.decisions.views import Object, RunView
from housekeeper_operator.desired.pod import labels

PATCHABLE = ("nodeSelector", "tolerations")
"""Members of the pod's spec that the admitting patch may still change (Kubernetes ≥ 1.27)."""
JOB_LABELS = frozenset({"controller-uid", "job-name"})
"""What the API server itself puts on the template of a Job, besides `batch.kubernetes.io/…`."""


def build_job_spec(template: Object) -> Object:
    """The `spec` of a Job that runs `template` once.

    No retry of its own: a Job's backoff knows neither reasons nor less than 10 s; the operator decides on the next
    attempt. No TTL: a Job gets one when its result is harvested.
    """
    return {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "podReplacementPolicy": "Failed",
        "suspend": True,
        "template": template,
    }


def template_hash(template: Object) -> str:
    """Hash over what of a pod template the admitting patch cannot change: everything but labels, annotations, nodes."""
    fixed = {key: value for key, value in template["spec"].items() if key not in PATCHABLE}
    return digest(fixed)


def digest(value: Any) -> str:
    """A short stable hash of plain JSON values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_job(run: RunView, kind: names.PolicyKind, template: Object, attempt: int) -> Object:
    """The Job that the operator makes for one attempt of a run. The run is its only owner."""
    fixed = template_hash(template)
    run_labels = {**labels(kind, run.policy), names.RUN_LABEL: names.label_value(run.name)}
    template = {
        **template,
        "metadata": {**template["metadata"], "labels": {**template["metadata"]["labels"], **run_labels}},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            # The hash is part of the name: a Job that is replaced, because what it mounts has changed, meets no
            # predecessor.
            "name": names.attempt_job_name(run.name, f"{run.uid}/{fixed}", attempt),
            "namespace": run.namespace,
            "labels": run_labels,
            "annotations": {names.TEMPLATE_HASH_ANNOTATION: fixed},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.MAINTENANCE_RUN,
                    "name": run.name,
                    "uid": run.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": build_job_spec(template),
    }


def build_admission(run: RunView, job: Object, template: Object, task: str) -> Object:
    """The one merge patch that starts a Job: not suspended, with the current task, labels and nodes."""
    existing = job["spec"]["template"]
    wanted_labels = {**template["metadata"]["labels"], names.RUN_LABEL: names.label_value(run.name)}
    wanted_annotations = {**template["metadata"]["annotations"], names.TASK_ANNOTATION: task}
    spec: Object = {"nodeSelector": None, "tolerations": None}
    old_selector = existing["spec"].get("nodeSelector") or {}
    selector = template["spec"].get("nodeSelector") or {}
    spec["nodeSelector"] = {**dict.fromkeys(set(old_selector) - set(selector)), **selector} or None
    spec["tolerations"] = template["spec"].get("tolerations")
    gone = set(existing["metadata"].get("annotations") or {}) - set(wanted_annotations)
    labels_gone = {
        label
        for label in existing["metadata"].get("labels") or {}
        if label not in wanted_labels and label not in JOB_LABELS and not label.startswith("batch.kubernetes.io/")
    }
    return {
        "metadata": {"labels": {names.RUN_LABEL: names.label_value(run.name)}},
        "spec": {
            "suspend": False,
            "template": {
                "metadata": {
                    "labels": {**dict.fromkeys(labels_gone), **wanted_labels},
                    "annotations": {**dict.fromkeys(gone), **wanted_annotations},
                },
                "spec": spec,
            },
        },
    }
