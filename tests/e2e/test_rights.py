"""Who may do what: users with the cluster's own roles, the operator, and worker pods."""

from __future__ import annotations

import json

from tests.e2e.site import Site, state


def test_the_edit_role_is_enough_for_all_three_kinds(site: Site, kubectl) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "editor", "namespace": site.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    site.api.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/rolebindings", binding)

    def may(verb: str, resource: str, *options: str) -> bool:
        answer = kubectl("auth", "can-i", verb, resource, *options, "-n", site.namespace, "--as=alice", check=False)
        return answer.stdout.strip() == "yes"

    for kind in ("cleanuppolicies", "healthchecks", "maintenanceruns"):
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
            site.wait_for(lambda verb=verb, kind=kind: may(verb, f"{kind}.housekeeper.dev"), 20, f"right to {verb}")
        assert not may("update", f"{kind}.housekeeper.dev", "--subresource=status")
    site.slow_check("mine", 1)
    manifest = {
        "apiVersion": "housekeeper.dev/v1alpha1",
        "kind": "MaintenanceRun",
        "metadata": {"name": "by-alice", "namespace": site.namespace},
        "spec": {"policyRef": {"kind": "HealthCheck", "name": "mine"}},
    }
    kubectl("create", "-f", "-", "--as=alice", input=json.dumps(manifest))
    assert state(site.ended("by-alice")) == "Succeeded"


def test_the_worker_has_no_token_and_no_rights(site: Site) -> None:
    site.slow_check("bare", 1)
    site.run("bare", "HealthCheck", "bare")
    (pod,) = site.list("Pod")
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [v for v in pod["spec"]["volumes"] if "projected" in v or "secret" in v]
    container = pod["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    # The namespace enforces `restricted`, so that a pod above it could not have run at all.
    namespace = site.api.get(f"/api/v1/namespaces/{site.namespace}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_operator_may_not_read_secrets_and_runs_restricted(site: Site, operator, kubectl) -> None:
    user = f"--as=system:serviceaccount:{operator.namespace}:housekeeper"
    for verb in ("get", "list", "watch"):
        answer = kubectl("auth", "can-i", verb, "secrets", "-A", user, check=False)
        assert answer.stdout.strip() == "no"
    namespace = site.api.get(f"/api/v1/namespaces/{operator.namespace}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
