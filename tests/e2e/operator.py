"""The installed operator as a scenario needs it: there, dead, doubled, uninstalled; what it wrote, what it weighs."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

from tests.e2e.processes import container_pids

RELEASE = "housekeeper"
CHART = pathlib.Path(__file__).resolve().parents[2] / "charts" / "housekeeper"
VALUES = {"image.tag": "dev", "worker.image.tag": "dev", "logLevel": "debug"}

Object = dict[str, Any]


class Operator:
    """One release of the chart, in a namespace of its own that enforces Pod Security `restricted`."""

    namespace = "housekeeper-system"

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._api = cluster.api

    def install(self, further: dict[str, str] | None = None) -> None:
        """Install or upgrade the release, with further values, and wait until it is available."""
        if self._api.find(f"/api/v1/namespaces/{self.namespace}") is None:
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            self._api.create("/api/v1/namespaces", {"metadata": {"name": self.namespace, "labels": labels}})
        # The images have one name from build to build, so that nothing else would replace a running pod.
        values = {**VALUES, **(further or {}), "podAnnotations.installed": f"at-{time.time_ns()}"}
        settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        # Other tests of the session may have applied the definitions without Helm.
        where = ("-n", self.namespace, "--wait", "--timeout=120s", "--take-ownership")
        self._cluster.run("helm", "upgrade", "--install", RELEASE, str(CHART), *where, *settings, timeout=180)

    def uninstall(self) -> None:
        """Remove the release."""
        self._cluster.run("helm", "uninstall", RELEASE, "-n", self.namespace, "--wait", "--timeout=120s", timeout=180)

    @contextlib.contextmanager
    def uninstalled(self) -> Iterator[None]:
        """The release is gone for a while."""
        self.uninstall()
        try:
            yield
        finally:
            self.install()

    @contextlib.contextmanager
    def with_values(self, further: dict[str, str]) -> Iterator[None]:
        """The release has other values for a while."""
        self.install(further)
        try:
            self.available()
            yield
        finally:
            self.install()
            self.available()

    def pods(self) -> list[Object]:
        """The operator's pods that are not on their way out."""
        pods: list[Object] = self._api.items(
            f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=f"app.kubernetes.io/name={RELEASE}"
        )
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def scale(self, replicas: int) -> None:
        """Set the number of replicas; does not wait."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{RELEASE}"
        self._api.patch(path, {"spec": {"replicas": replicas}})

    def available(self, replicas: int = 1) -> None:
        """Wait until this many replicas are ready, and one leads."""

        def ready() -> bool:
            path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{RELEASE}"
            status = self._api.get(path).get("status", {})
            # The Lease may still name a replica that is gone.
            leads = any(self.leader().startswith(pod["metadata"]["name"]) for pod in self.pods())
            return status.get("readyReplicas") == replicas == status.get("replicas") and leads

        _until(ready, 120, f"{replicas} ready replicas with a leader")

    def leader(self) -> str:
        """Identity of the leader, or empty."""
        lease = self._api.find(f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{RELEASE}")
        return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")

    def kill(self, identity: str) -> None:
        """SIGKILL the replica of this identity, and remove its pod so that it does not come back by itself."""
        (pod,) = [pod for pod in self.pods() if identity.startswith(pod["metadata"]["name"])]
        self._kill(pod)
        self._api.delete(f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}")

    @contextlib.contextmanager
    def dead(self) -> Iterator[None]:
        """All replicas are killed, without a chance to say goodbye, and stay away for a while."""
        pods = self.pods()
        self.scale(0)
        for pod in pods:
            self._kill(pod)
        _until(lambda: not self.pods(), 60, "end of the operator's pods")
        try:
            yield
        finally:
            self.scale(1)
            self.available()

    @contextlib.contextmanager
    def replicas(self, count: int) -> Iterator[None]:
        """More replicas for a while."""
        self.scale(count)
        self.available(count)
        try:
            yield
        finally:
            self.scale(1)
            self.available()

    def restart(self) -> None:
        """SIGTERM to the one replica's pod, and wait for its successor."""
        for pod in self.pods():
            self._api.delete(f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}")
        _until(lambda: len(self.pods()) == 1, 60, "successor")
        self.available()

    def memory_bytes(self) -> int:
        """Resident memory of the one replica."""
        (pod,) = self.pods()
        total = 0
        for pid in container_pids(pod, "operator"):
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                for line in file:
                    if line.startswith("VmRSS:"):
                        total += int(line.split()[1]) * 1024
        return total

    def address(self) -> str:
        """Host and port where the one replica serves metrics and probes."""
        (pod,) = self.pods()
        return f"{pod['status']['podIP']}:8080"

    def http(self, path: str) -> str:
        """What the one replica answers on its HTTP port."""
        return str(self._cluster.http(f"http://{self.address()}{path}"))

    def audit_mark(self) -> int:
        """The present end of the API server's audit log."""
        return os.stat(self._cluster.audit_log).st_size

    def writes_since(self, mark: int, namespace: str) -> list[str]:
        """What the operator has written since, from the audit log: there, in no namespace, or in its own.

        Its Lease is left out. Other tests' namespaces may be on their way out still.
        """
        log = self._cluster.audit_log
        with open(log, encoding="utf-8") as file:
            file.seek(mark)
            events = [json.loads(line) for line in file.read().splitlines()]
        user = f"system:serviceaccount:{self.namespace}:{RELEASE}"
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in events
            if event["user"]["username"] == user
            and event["verb"] not in {"get", "list", "watch"}
            and "/leases/" not in event["requestURI"]
            and event.get("objectRef", {}).get("namespace", "") in {"", namespace, self.namespace}
        ]

    def _kill(self, pod: Object) -> None:
        for pid in container_pids(pod, "operator"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _until(holds: Any, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.2)
