"""What roles alone cannot separate: writing a policy or a run, and letting it remove something."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.running import Cluster, wait_for
from workshop import chart

Object = dict[str, Any]
As = Callable[[str, str, Object], subprocess.CompletedProcess[str]]
DIGEST = f"sha256:{'0' * 64}"
KINDS = ["cleanuppolicies", "maintenanceruns"]
WRITE = {"apiGroups": ["housekeeper.dev"], "resources": KINDS, "verbs": ["get", "create", "patch"]}
RIGHTS: dict[str, list[Object]] = {
    "writer": [WRITE],
    "approver": [WRITE, {"apiGroups": ["housekeeper.dev"], "resources": ["cleanuppolicies"], "verbs": ["approve"]}],
    "approver-of-logs": [
        WRITE,
        {
            "apiGroups": ["housekeeper.dev"],
            "resources": ["cleanuppolicies"],
            "resourceNames": ["logs"],
            "verbs": ["approve", "enforce"],
        },
    ],
    "enforcer": [WRITE, {"apiGroups": ["housekeeper.dev"], "resources": ["cleanuppolicies"], "verbs": ["enforce"]}],
}


def policy(name: str, mode: str) -> Object:
    return {
        "apiVersion": "housekeeper.dev/v1alpha1",
        "kind": "CleanupPolicy",
        "metadata": {"name": name},
        "spec": {
            "mode": mode,
            "target": {"volume": {"persistentVolumeClaim": {"claimName": "data"}}},
            "rules": [{"name": "old", "select": {"include": ["**/*.log"]}, "removeOlderThan": "30d"}],
        },
    }


def run(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "housekeeper.dev/v1alpha1",
        "kind": "MaintenanceRun",
        "metadata": {"name": name},
        "spec": {"policyRef": {"kind": "CleanupPolicy", "name": "logs"}, **spec},
    }


RESTORE = run("undo", action="Restore", restoreOf="moved")


@pytest.fixture
def guarded(cluster: Cluster, namespace: str, kinds: None) -> Iterator[None]:
    """The chart's admission policies are in force in the test's namespace, and users have their rights."""
    text = chart.render("--set", f"watchNamespaces={{{namespace}}}", "-s", "templates/admission-policy.yaml")
    cluster.kubectl("apply", "-f", "-", input=text)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    for user, rules in RIGHTS.items():
        cluster.api.create(f"{rbac}/roles", {"metadata": {"name": user}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
        binding = {"metadata": {"name": user}, "roleRef": reference, "subjects": [subject]}
        cluster.api.create(f"{rbac}/rolebindings", binding)

    def in_force() -> bool:
        words = ("create", "-n", namespace, "--dry-run=server", "-f", "-", "--as=writer")
        tries = [policy("probe", "Enforce"), run("probe", approve=DIGEST), RESTORE]
        answers = [cluster.kubectl(*words, input=json.dumps(one), check=False) for one in tries]
        return all("that needs the verb" in answer.stderr for answer in answers)

    wait_for(in_force, 30, "admission policies")
    yield
    cluster.kubectl("delete", "-f", "-", input=text)


@pytest.fixture
def create(cluster: Cluster, namespace: str, guarded: None) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`create(user, manifest)` as kubectl does."""

    def create(user: str, manifest: Object) -> subprocess.CompletedProcess[str]:
        words = ("create", "-n", namespace, "-f", "-", *([f"--as={user}"] if user else []))
        return cluster.kubectl(*words, input=json.dumps(manifest), check=False)

    return create


@pytest.mark.parametrize(
    ("user", "manifest", "refusal"),
    [
        ("writer", policy("logs", "DryRun"), ""),
        ("writer", policy("logs", "Enforce"), "writer may not write CleanupPolicy logs in mode Enforce"),
        ("approver", policy("logs", "Enforce"), "that needs the verb enforce on cleanuppolicies"),
        ("enforcer", policy("logs", "Enforce"), ""),
        ("approver-of-logs", policy("logs", "Enforce"), ""),
        ("approver-of-logs", policy("other", "Enforce"), "may not write CleanupPolicy other"),
        ("", policy("logs", "Enforce"), ""),
        ("writer", run("now"), ""),
        ("writer", run("now", approve=DIGEST), "writer may not approve plans of CleanupPolicy logs"),
        ("enforcer", run("now", approve=DIGEST), "that needs the verb approve on cleanuppolicies"),
        ("approver", run("now", approve=DIGEST), ""),
        ("approver-of-logs", run("now", approve=DIGEST), ""),
        ("writer", RESTORE, "writer may not restore what CleanupPolicy logs quarantined"),
        ("approver", RESTORE, "that needs the verb enforce on cleanuppolicies"),
        ("enforcer", RESTORE, ""),
        ("approver-of-logs", RESTORE, ""),
        ("writer", run("look", action="Restore", restoreOf="moved", mode="DryRun"), ""),
    ],
)
def test_who_may_create_what(create: Callable[..., Any], user: str, manifest: Object, refusal: str) -> None:
    answer = create(user, manifest)
    assert (answer.returncode == 0) is (not refusal), answer.stderr
    assert refusal in answer.stderr


def held(digest: str) -> Object:
    condition = {"type": "Succeeded", "status": "Unknown", "reason": "Held", "message": "x"}
    numbers = {"scanned": 2, "matched": 2, "removed": 0, "bytesFreed": 0, "planDigest": digest}
    since = {"lastTransitionTime": "2026-11-22T10:00:00Z"}
    return {"status": {"conditions": [condition | since], "result": {"cleanup": numbers}}}


def test_who_may_approve_a_held_run(cluster: Cluster, namespace: str, create: Callable[..., Any]) -> None:
    assert create("writer", run("waits")).returncode == 0
    where = ("patch", "mrun", "waits", "-n", namespace, "--type=merge")
    cluster.kubectl(*where, "--subresource=status", "-p", json.dumps(held(DIGEST)))
    approve = ("-p", json.dumps({"spec": {"approve": DIGEST}}))
    refused = cluster.kubectl(*where, *approve, "--as=writer", check=False)
    assert "writer may not approve plans" in refused.stderr
    assert cluster.kubectl(*where, *approve, "--as=approver", check=False).returncode == 0
    # Who may only write goes on writing: the approval is there already, and a cancel is no approval.
    assert cluster.kubectl(*where, "-p", '{"spec":{"cancel":true}}', "--as=writer", check=False).returncode == 0


def test_an_enforcing_policy_is_changed_by_who_may_enforce_and_made_dry_by_anybody(
    cluster: Cluster, namespace: str, create: Callable[..., Any]
) -> None:
    assert create("enforcer", policy("logs", "Enforce")).returncode == 0
    where = ("patch", "clp", "logs", "-n", namespace, "--type=merge", "-p")
    for change in ('{"spec":{"settleTime":"0s"}}', '{"spec":{"suspend":true}}'):
        refused = cluster.kubectl(*where, change, "--as=writer", check=False)
        assert "mode: DryRun is allowed" in refused.stderr
        assert cluster.kubectl(*where, change, "--as=enforcer", check=False).returncode == 0
    labelled = cluster.kubectl(*where, '{"metadata":{"labels":{"a":"b"}}}', "--as=writer", check=False)
    assert labelled.returncode == 0, labelled.stderr
    assert cluster.kubectl(*where, '{"spec":{"mode":"DryRun"}}', "--as=writer", check=False).returncode == 0
    assert cluster.kubectl(*where, '{"spec":{"settleTime":"1m"}}', "--as=writer", check=False).returncode == 0
    assert cluster.kubectl(*where, '{"spec":{"mode":"Enforce"}}', "--as=writer", check=False).returncode != 0
