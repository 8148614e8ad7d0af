"""An installed release: it runs with exactly the rights that it has, and goes without a trace."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cluster.running import Cluster, wait_for

POLICY = {
    "apiVersion": "housekeeper.dev/v1alpha1",
    "kind": "CleanupPolicy",
    "metadata": {"name": "logs"},
    "spec": {
        "target": {"volume": {"persistentVolumeClaim": {"claimName": "data"}}},
        "rules": [{"name": "old", "select": {"include": ["**/*.log"]}, "removeOlderThan": "30d"}],
    },
}


def test_a_release_for_one_namespace_works_there_and_has_no_rights_elsewhere(
    cluster: Cluster, namespace: str, install: Callable[..., str], refusals: Callable[[str], list[str]]
) -> None:
    install("narrow", f"watchNamespaces={{{namespace}}}")
    account = f"system:serviceaccount:{namespace}:narrow-housekeeper"
    cluster.kubectl("apply", "--namespace", namespace, "-f", "-", input=json.dumps(POLICY))
    wait_for(
        lambda: cluster.api.find(f"/apis/batch/v1/namespaces/{namespace}/cronjobs/clp-logs"),
        30,
        "CronJob of the policy",
    )
    for scope in (("--all-namespaces",), ("--namespace", "default")):
        answer = cluster.kubectl("auth", "can-i", "list", "pods", *scope, f"--as={account}", check=False)
        assert answer.stdout.strip() == "no", scope
    assert refusals(account) == []


def test_notes_say_what_is_dangerous(namespace: str, install: Callable[..., str]) -> None:
    notes = install("aware", f"watchNamespaces={{{namespace}}}", "rbac.aggregate=true")
    assert f"It serves these namespaces only: {namespace}" in notes
    assert "crds.enabled is false" in notes
    assert "PersistentVolumeClaim" in notes


def test_two_replicas_are_both_ready_and_one_leads(
    cluster: Cluster, namespace: str, install: Callable[..., str]
) -> None:
    install("double", f"watchNamespaces={{{namespace}}}", "replicas=2", "networkPolicy.enabled=true")
    deployment = cluster.api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/double-housekeeper")
    assert deployment["status"]["readyReplicas"] == 2
    lease = cluster.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/housekeeper")
    pods = cluster.api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector="app.kubernetes.io/instance=double")
    assert sum(lease["spec"]["holderIdentity"].startswith(pod["metadata"]["name"]) for pod in pods) == 1
