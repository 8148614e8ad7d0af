"""Policies and the templates that come of them."""

from __future__ import annotations

from typing import Any

import pytest

from housekeeper_operator import policies
from housekeeper_operator.decisions.views import Object
from housekeeper_operator.desired.pod import WorkerImage
from housekeeper_operator.policies import Policy

IMAGE = WorkerImage("registry.example/housekeeper-worker:1.2.3", "IfNotPresent")


def cleanup_policy(name: str = "backups", **spec: Any) -> Object:
    return {
        "apiVersion": "housekeeper.dev/v1alpha1",
        "kind": "CleanupPolicy",
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "7"},
        "spec": {
            "target": {"volume": {"persistentVolumeClaim": {"claimName": "data"}}},
            "rules": [{"name": "dumps", "select": {"include": ["**/*.dump"]}, "removeOlderThan": "30d"}],
            **spec,
        },
    }


def health_check(name: str = "node") -> Object:
    return {
        "apiVersion": "housekeeper.dev/v1alpha1",
        "kind": "HealthCheck",
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "7"},
        "spec": {
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "checks": [
                {"name": "disk", "type": "Filesystem", "filesystem": {"volume": "data", "used": {"failAbove": "90%"}}},
            ],
        },
    }


FULL_POD = {
    "resources": {"requests": {"cpu": "0.5", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "backup", "operator": "Exists", "effect": "NoSchedule"}],
    "priorityClassName": "low",
    "imagePullSecrets": [{"name": "registry"}],
    "labels": {"team": "storage"},
    "annotations": {"example.com/cost-centre": "42"},
    "securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [3000], "fsGroup": 4000},
}


@pytest.fixture
def policy() -> Policy:
    return policies.parse("CleanupPolicy", cleanup_policy())


@pytest.fixture
def full_policy() -> Policy:
    return policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce", pod=FULL_POD))


@pytest.fixture
def check() -> Policy:
    return policies.parse("HealthCheck", health_check())
