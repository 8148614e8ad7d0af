"""From the API server to the keys that wake."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.running import Cluster, wait_for
from tests.integration.runtime.journal_operator import SLOW
from tests.integration.runtime.processes import Processes

Object = dict[str, Any]
Policy = Callable[..., Object]


def apply(cluster: Cluster, *objects: Object) -> None:
    cluster.kubectl(
        "apply", "--server-side", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )


def test_every_change_of_a_policy_wakes_its_key(cluster: Cluster, processes: Processes, policy: Policy) -> None:
    apply(cluster, policy("before"))
    operator = processes.start("one")
    processes.working(operator)
    wait_for(lambda: processes.wrote("one", "before 0_3_*_*_*"), 5, "policy that was there before")

    apply(cluster, policy("x"))
    wait_for(lambda: processes.wrote("one", "x 0_3_*_*_*"), 5, "new policy")
    apply(cluster, policy("x", schedule="5 5 * * *"))
    wait_for(lambda: processes.wrote("one", "x 5_5_*_*_*"), 5, "changed policy")
    cluster.kubectl("delete", "clp", "x", "-n", policy("x")["metadata"]["namespace"])
    wait_for(lambda: processes.wrote("one", "x gone"), 5, "deleted policy")


def test_others_jobs_and_pods_never_reach_the_operator(cluster: Cluster, processes: Processes, policy: Policy) -> None:
    namespace = policy("x")["metadata"]["namespace"]
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": namespace, "name": "others"},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
        },
    }
    ours = {"namespace": namespace, "name": "ours", "labels": {"app.kubernetes.io/managed-by": "housekeeper"}}
    operator = processes.start("one", namespaces=namespace)
    processes.working(operator)
    apply(cluster, job, job | {"metadata": ours})

    def held() -> str:
        lines = operator.probe("/metrics")[1].splitlines()
        return next(line for line in lines if line.startswith('housekeeper_store_objects{kind="Job"}'))

    wait_for(lambda: held().endswith(" 1.0"), 5, "our Job")
    apply(cluster, policy("x"))
    wait_for(lambda: processes.wrote("one", "x 0_3_*_*_*"), 5, "an event after it")
    assert held().endswith(" 1.0")


def forget_the_past() -> None:
    """Have etcd forget every state but the present one: no watch can be resumed that has not seen it."""

    def ask(path: str, body: Object) -> Object:
        request = urllib.request.Request(f"http://127.0.0.1:2379/v3/kv/{path}", json.dumps(body).encode())
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as answer:
            parsed: Object = json.loads(answer.read())
            return parsed

    revision = ask("range", {"key": "AA==", "limit": "1"})["header"]["revision"]
    ask("compaction", {"revision": revision, "physical": True})


def test_a_deletion_that_no_watch_could_tell_is_found(cluster: Cluster, processes: Processes, policy: Policy) -> None:
    namespace = policy("x")["metadata"]["namespace"]
    apply(cluster, policy("x"), policy("y"))
    operator = processes.start("one", lease_duration="2m")
    processes.working(operator)
    wait_for(lambda: processes.wrote("one", "x 0_3_*_*_*"), 5, "policy")

    operator.send(signal.SIGSTOP)
    with cluster.killed("kube-apiserver"):  # or what it sends would wait in the operator's socket
        pass
    cluster.kubectl("delete", "clp", "x", "y", "-n", namespace)
    with cluster.killed("kube-apiserver"):
        forget_the_past()
    operator.send(signal.SIGCONT)

    wait_for(lambda: processes.wrote("one", "x gone") and processes.wrote("one", "y gone"), 60, "repair")
    assert operator.said("A full list differed from what the watches had told")


def test_stopping_lets_a_reconcile_finish(cluster: Cluster, processes: Processes, policy: Policy) -> None:
    operator = processes.start("one")
    processes.working(operator)
    apply(cluster, policy(SLOW))
    wait_for(lambda: processes.wrote("one", f"{SLOW} 0_3_*_*_*"), 5, "slow reconcile")
    told = time.monotonic()
    operator.send(signal.SIGTERM)

    assert operator.wait(10) == 0
    assert processes.wrote("one", f"{SLOW} finished")
    assert not processes.wrote("one", "works", after=told + 0.2)


@pytest.fixture
def limited_kubeconfig(cluster: Cluster, namespace: str, tmp_path: Path) -> Path:
    """The kubeconfig of a service account that may only read in the test's namespace (and keep the Lease there)."""
    rules = [
        {"apiGroups": ["housekeeper.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ]
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    apply(
        cluster,
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": {"namespace": namespace, "name": "reader"},
            "rules": rules,
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"namespace": namespace, "name": "reader"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
            "subjects": [account],
        },
    )
    cluster.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    token = cluster.kubectl("create", "token", "reader", "-n", namespace).stdout.strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json").stdout)
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def test_rights_in_the_served_namespaces_are_enough(
    cluster: Cluster, processes: Processes, policy: Policy, namespace: str, limited_kubeconfig: Path
) -> None:
    elsewhere = policy("elsewhere")
    elsewhere["metadata"]["namespace"] = "default"
    operator = processes.start("one", namespaces=namespace, KUBECONFIG=str(limited_kubeconfig))
    processes.working(operator)
    try:
        apply(cluster, elsewhere, policy("x"))
        wait_for(lambda: processes.wrote("one", "x 0_3_*_*_*"), 5, "policy of a served namespace")
    finally:
        cluster.kubectl("delete", "clp", "elsewhere", "-n", "default")
    cluster.kubectl("delete", "clp", "x", "-n", namespace)
    wait_for(lambda: processes.wrote("one", "x gone"), 5, "deletion")

    assert not any("elsewhere" in line.what for line in processes.journal())
    assert {line["level"] for line in operator.log} == {"info"}
