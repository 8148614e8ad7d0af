"""Five hundred policies, and then nothing: speed, memory, and silence."""

from __future__ import annotations

import json
import time

from tests.e2e.site import NEVER, Site

COUNT = 500


def manifests(namespace: str) -> str:
    items = [
        {
            "apiVersion": "housekeeper.dev/v1alpha1",
            "kind": "CleanupPolicy",
            "metadata": {"name": f"policy-{number:03}", "namespace": namespace},
            "spec": {
                "schedule": NEVER,
                "target": {"volume": {"persistentVolumeClaim": {"claimName": "data"}}},
                "rules": [{"name": "old", "select": {"include": ["**"]}, "removeOlderThan": "30d"}],
            },
        }
        for number in range(COUNT)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def test_five_hundred_policies(site: Site, operator, kubectl) -> None:
    began = time.monotonic()
    kubectl("apply", "-f", "-", input=manifests(site.namespace), timeout=180)
    applied = time.monotonic()
    site.wait_for(lambda: len(site.list("CronJob")) == COUNT, 60, f"{COUNT} CronJobs")
    applying, waited = applied - began, time.monotonic() - applied
    print(f"kubectl apply: {applying:.1f} s; {COUNT} CronJobs {waited:.1f} s after its end")
    # Five seconds; more only where the machine is so slow that kubectl alone needs more than ten for its part.
    limit = 5 * max(1.0, applying / 10)
    assert waited <= limit, f"{waited:.1f} s after an apply of {applying:.1f} s"
    site.wait_for(
        lambda: all(policy.get("status", {}).get("conditions") for policy in site.list("CleanupPolicy")),
        60,
        "status of every policy",
    )
    memory = operator.memory_bytes()
    print(f"operator: {memory / 2**20:.0f} MiB resident with {COUNT} policies")
    assert memory <= 120 * 2**20

    versions = {p["metadata"]["name"]: p["metadata"]["resourceVersion"] for p in site.list("CleanupPolicy")}
    mark = operator.audit_mark()
    operator.restart()
    reconciled = f'housekeeper_reconcile_total{{kind="CleanupPolicy",result="ok"}} {COUNT}'
    site.wait_for(lambda: reconciled in operator.http("/metrics"), 60, "reconcile of every policy")
    assert operator.writes_since(mark, site.namespace) == [], "after a restart it wrote although nothing had changed"
    time.sleep(60)
    assert operator.writes_since(mark, site.namespace) == [], "it wrote although nothing had changed"
    assert {p["metadata"]["name"]: p["metadata"]["resourceVersion"] for p in site.list("CleanupPolicy")} == versions
    assert operator.memory_bytes() <= 120 * 2**20
