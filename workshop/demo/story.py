"""What the demo does, in order, and what it shows of it."""

from __future__ import annotations

import os
import time
from typing import Any

import yaml

from workshop import chart
from workshop.demo.clusters import CLAIM, NAMESPACE, RELEASE, SYSTEM, WORKER_ID, DemoCluster, DemoError, Object
from workshop.project import ROOT

POLICIES = ("temporary-files", "old-logs", "browser-profiles")
_START = time.monotonic()
_RUN_LIMIT = 180.0
"""Seconds after which a run of the demo is given up."""


def say(text: str) -> None:
    """One line about what happens now."""
    print(
        f"\n\033[1m[{time.monotonic() - _START:5.1f}s] {text}\033[0m"
        if _colours()
        else f"\n[{time.monotonic() - _START:5.1f}s] {text}",
        flush=True,
    )


def _colours() -> bool:
    return os.isatty(1) and "NO_COLOR" not in os.environ


def tell(cluster: DemoCluster) -> None:
    """All of it. Raises DemoError where it cannot go on, or where the result is not what was promised."""
    say("A cluster with both images")
    cluster.start()
    say("Installing the chart")
    install(cluster)
    say("A volume with a few thousand files of many ages")
    prepare_volume(cluster)
    before = in_pod(cluster, "count")
    print(before)

    say("Applying the examples: policies in dry run, one health check")
    apply_examples(cluster)
    for policy in POLICIES:
        wait_until_ready(cluster, policy)

    say("Running each policy once, dry: nothing is removed, the numbers say what would be")
    planned = {policy: run(cluster, "CleanupPolicy", policy) for policy in POLICIES}
    run(cluster, "HealthCheck", "workspace")
    show(cluster, "get", "housekeeper")
    if in_pod(cluster, "count") != before:
        raise DemoError("a dry run changed the volume")

    say("Writing `mode: Enforce` into the policies, and running them again")
    for policy in POLICIES:
        patch = '{"spec": {"mode": "Enforce"}}'
        cluster.run(
            "kubectl", "--namespace", NAMESPACE, "patch", "cleanuppolicy", policy, "--type=merge", "--patch", patch
        )
    removed = {policy: run(cluster, "CleanupPolicy", policy) for policy in POLICIES}

    say("What there is to see")
    show(cluster, "get", "housekeeper")
    conditions(cluster)
    events = (
        "--field-selector",
        "reportingComponent=housekeeper.dev/operator",
        "--sort-by=.metadata.creationTimestamp",
    )
    show(cluster, "get", "events", *events, last=12)
    print("\nThe volume before:\n" + before)
    print("\nand after:\n" + in_pod(cluster, "count"))
    if planned != removed or not all(removed.values()):
        raise DemoError(f"the dry runs announced {planned}, and {removed} were removed")
    say(f"Done: {sum(removed.values())} files removed, exactly as the dry runs had announced")
    print("\n" + cluster.farewell())


def install(cluster: DemoCluster) -> None:
    """The chart, in its own namespace, under Pod Security's level `restricted`."""
    for name in (SYSTEM, NAMESPACE):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    operator, worker = _split(cluster.operator_image), _split(cluster.worker_image)
    settings = {
        **{f"image.{key}": value for key, value in operator.items()},
        **{f"worker.image.{key}": value for key, value in worker.items()},
        "crds.keep": "false",
        # Images of one name may have been built anew: a restart takes them.
        "podAnnotations.housekeeper\\.dev/installed": time.strftime("%Y%m%dT%H%M%S"),
    }
    values = [
        word
        for key, value in settings.items()
        for word in ("--set-string" if key.startswith("pod") else "--set", f"{key}={value}")
    ]
    cluster.run(
        *("helm", "upgrade", "--install", RELEASE, os.path.join(ROOT, chart.CHART), "--namespace", SYSTEM),
        *("--wait", "--timeout", "3m", *values),
    )
    print(cluster.run("kubectl", "--namespace", SYSTEM, "get", "deployments,pods").rstrip())


def _split(image: str) -> dict[str, str]:
    """An image reference as values of the chart."""
    name, at, digest = image.partition("@")
    if at:
        return {"repository": name, "digest": digest}
    repository, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return {"repository": repository, "tag": tag}
    return {"repository": name, "tag": "latest"}


def prepare_volume(cluster: DemoCluster) -> None:
    """The claim, and files on it: the same ones every time."""
    cluster.apply(*cluster.volume())
    print(in_pod(cluster, "fill"))


def in_pod(cluster: DemoCluster, what: str) -> str:
    """Run files.py in a pod with the worker's image and the volume, and return what it printed."""
    with open(os.path.join(ROOT, "workshop", "demo", "files.py"), encoding="utf-8") as file:
        script = file.read()
    name = f"demo-{what}-{time.time_ns() // 1_000_000:x}"
    pod: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": WORKER_ID,
            "runAsGroup": WORKER_ID,
            "fsGroup": WORKER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "files",
                "image": cluster.worker_image,
                "command": ["python3", "-c", script, what, "/workspace"],
                "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        "volumes": [{"name": "workspace", "persistentVolumeClaim": {"claimName": CLAIM}}],
    }
    spec = {"backoffLimit": 0, "ttlSecondsAfterFinished": 300, "template": {"spec": pod}}
    cluster.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    )
    cluster.run(
        "kubectl", "--namespace", NAMESPACE, "wait", f"job/{name}", "--for=condition=Complete", "--timeout=180s"
    )
    return cluster.run("kubectl", "--namespace", NAMESPACE, "logs", f"job/{name}").rstrip()


def apply_examples(cluster: DemoCluster) -> None:
    """Every example but the run, with the one thing changed that a demo must change."""
    objects: list[Object] = []
    for name in sorted(os.listdir(os.path.join(ROOT, "examples"))):
        if name.endswith(".yaml"):
            with open(os.path.join(ROOT, "examples", name), encoding="utf-8") as file:
                objects.extend(yaml.safe_load_all(file))
    for thing in objects:
        thing["metadata"]["namespace"] = NAMESPACE
        if thing["kind"] == "CleanupPolicy":
            thing["spec"]["settleTime"] = "0s"
    cluster.apply(*(thing for thing in objects if thing["kind"] != "MaintenanceRun"))
    print("settleTime is set to 0s: the demo's files carry old times, but were made a moment ago, and by default")
    print("Housekeeper leaves alone what changed within ten minutes.")


def wait_until_ready(cluster: DemoCluster, policy: str) -> None:
    """Wait for the policy's condition Ready."""
    words = ("wait", f"cleanuppolicy/{policy}", "--for=condition=Ready", "--timeout=60s")
    cluster.run("kubectl", "--namespace", NAMESPACE, *words)


def run(cluster: DemoCluster, kind: str, policy: str) -> int:
    """Create a MaintenanceRun, wait for its end, print how it went; returns the number of files removed."""
    name = f"{policy[:30]}-{time.time_ns() // 1_000_000:x}"
    spec = {"policyRef": {"kind": kind, "name": policy}}
    meta = {"name": name, "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "housekeeper.dev/v1alpha1", "kind": "MaintenanceRun", "metadata": meta, "spec": spec})
    deadline = time.monotonic() + _RUN_LIMIT
    state = ""
    while time.monotonic() < deadline:
        found = cluster.get("maintenancerun", name, "--namespace", NAMESPACE)
        condition = _condition(found, "Succeeded")
        if condition.get("reason", "") != state:
            state = condition.get("reason", "")
            print(f"  {policy}: {state}", flush=True)
        if condition.get("status") in {"True", "False"}:
            print(f"    {condition.get('message', '')}")
            if condition["status"] == "False":
                raise DemoError(f"the run {name} ended as {state}: {condition.get('message', '')}")
            result: dict[str, Any] = found["status"].get("result", {})
            return int(result.get("cleanup", {}).get("removed", 0))
        time.sleep(0.5)
    raise DemoError(f"the run {name} has not ended after {_RUN_LIMIT:.0f} s; its state is {state or 'unknown'}")


def show(cluster: DemoCluster, *words: str, last: int = 0) -> None:
    """Print a kubectl command and what it answers: all of it, or the last lines."""
    answer = cluster.run("kubectl", "--namespace", NAMESPACE, *words).rstrip()
    print(f"\n$ kubectl --namespace {NAMESPACE} {' '.join(words)}{f' | tail -n {last}' if last else ''}")
    print("\n".join(answer.splitlines()[-last:]))


def conditions(cluster: DemoCluster) -> None:
    """Print the conditions and totals of every policy and check."""
    for kind in ("cleanuppolicies", "healthchecks"):
        for item in cluster.get(kind, "--namespace", NAMESPACE)["items"]:
            status = item.get("status", {})
            print(f"\n{item['kind']} {item['metadata']['name']}: next run {status.get('nextRunTime', 'not planned')}")
            for condition in status.get("conditions", []):
                print(
                    f"  {condition['type']:<10} {condition['status']:<8} {condition['reason']}: {condition['message']}"
                )
            if totals := status.get("totals"):
                print("  totals:    " + ", ".join(f"{key} {value}" for key, value in totals.items()))


def _condition(thing: Object, kind: str) -> dict[str, str]:
    conditions = thing.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})
