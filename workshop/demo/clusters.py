"""The two kinds of cluster that the demo runs on: the embedded one, and one that the user already has."""

from __future__ import annotations

import abc
import json
import os
import shutil
import subprocess
import sys
from typing import Any

from workshop.project import ROOT

NAMESPACE = "housekeeper-demo"
"""Where the volume and the policies are."""
SYSTEM = "housekeeper-demo-system"
"""Where the operator is."""
RELEASE = "housekeeper"
CLAIM = "workspace"
WORKER_ID = 65532
"""Uid and gid of worker pods that say nothing else; the demo's files belong to it."""

Object = dict[str, Any]


class DemoError(Exception):
    """The demo cannot go on. The text is one sentence for the person who started it."""


class DemoCluster(abc.ABC):
    """What the demo needs of a cluster."""

    operator_image: str
    worker_image: str

    @abc.abstractmethod
    def command(self, *words: str) -> list[str]:
        """`words` (a kubectl or helm command) as it must be started to reach this cluster."""

    @abc.abstractmethod
    def start(self) -> None:
        """Make the cluster reachable, with both images in it."""

    @abc.abstractmethod
    def volume(self) -> list[Object]:
        """The objects behind the claim that the demo cleans."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Remove whatever the demo made."""

    @abc.abstractmethod
    def farewell(self) -> str:
        """How to go on with kubectl, and how to get rid of everything."""

    def run(self, *words: str, text: str | None = None) -> str:
        """Run a kubectl or helm command and return its output. Raises DemoError with what it said."""
        result = subprocess.run(
            self.command(*words),
            cwd=ROOT,
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        if result.returncode != 0:
            raise DemoError(f"{' '.join(words)} failed:\n{result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def apply(self, *objects: Object) -> None:
        """Apply objects with kubectl, server-side."""
        listing = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-", text=json.dumps(listing))

    def get(self, *words: str) -> Object:
        """`kubectl get … -o json`, parsed."""
        parsed: Object = json.loads(self.run("kubectl", "get", *words, "--output", "json"))
        return parsed


def claim(**spec: Any) -> Object:
    """The claim that the examples name."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


class EmbeddedCluster(DemoCluster):
    """The cluster of tests/cluster, under the name `demo`."""

    NAME = "demo"
    VOLUME = "housekeeper-demo-workspace"

    def __init__(self) -> None:
        self.operator_image = "housekeeper-operator:dev"
        self.worker_image = "housekeeper-worker:dev"

    def _cluster(self, *words: str) -> list[str]:
        return [sys.executable, os.path.join(ROOT, "tests", "cluster", "cluster"), "--name", self.NAME, *words]

    def _call(self, *words: str) -> None:
        # What it prints on stdout is for programs; its progress goes to stderr.
        if subprocess.run(self._cluster(*words), cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode != 0:
            raise DemoError(f"the embedded cluster could not do this: {' '.join(words)} (what it said is above)")

    def command(self, *words: str) -> list[str]:
        return self._cluster("exec", "--", *words)

    def start(self) -> None:
        self._call("up")
        self._call("images")

    def volume(self) -> list[Object]:
        directory = self._directory()
        os.makedirs(directory, exist_ok=True)
        os.chown(directory, WORKER_ID, WORKER_ID)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": self.VOLUME},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "hostPath": {"path": directory, "type": "Directory"},
                "claimRef": {"namespace": NAMESPACE, "name": CLAIM},
            },
        }
        return [volume, claim(storageClassName="", volumeName=self.VOLUME)]

    def _directory(self) -> str:
        # Beside the cluster's kubeconfig, so that it goes when the cluster goes.
        kubeconfig = subprocess.run(self._cluster("kubeconfig"), check=True, stdout=subprocess.PIPE, text=True).stdout
        return os.path.join(os.path.dirname(kubeconfig.strip()), "demo-volume")

    def remove(self) -> None:
        self._call("down")

    def farewell(self) -> str:
        return (
            f"The cluster stays up. Use kubectl on it with\n\n"
            f"  tests/cluster/cluster --name {self.NAME} exec -- kubectl --namespace {NAMESPACE} get housekeeper\n"
            f"  tests/cluster/cluster --name {self.NAME} exec -- bash\n\n"
            "and remove it with\n\n  make demo-down"
        )


class OwnCluster(DemoCluster):
    """A cluster that the user has, by its kubectl context; its nodes must be able to pull both images."""

    def __init__(self, context: str) -> None:
        self.context = context
        self.operator_image = os.environ.get("OPERATOR_IMAGE", "")
        self.worker_image = os.environ.get("WORKER_IMAGE", "")

    def command(self, *words: str) -> list[str]:
        program, *arguments = words
        flag = {"kubectl": "--context", "helm": "--kube-context"}[program]
        return [_program(program), flag, self.context, *arguments]

    def start(self) -> None:
        if not self.operator_image or not self.worker_image:
            raise DemoError(
                "say which images the cluster shall pull: make demo CONTEXT=… OPERATOR_IMAGE=… WORKER_IMAGE=… "
                "(the README says how they are built)"
            )
        self.run("kubectl", "version")
        self._refuse_foreign_installation()

    def _refuse_foreign_installation(self) -> None:
        for item in self.get("customresourcedefinitions")["items"]:
            owner = item["metadata"].get("annotations", {}).get("meta.helm.sh/release-namespace")
            if item["spec"]["group"] == "housekeeper.dev" and owner != SYSTEM:
                raise DemoError(
                    f"Housekeeper is installed in context {self.context} already, and not by this demo "
                    f"({item['metadata']['name']} is there); use another cluster"
                )

    def volume(self) -> list[Object]:
        return [claim()]

    def remove(self) -> None:
        self._refuse_foreign_installation()
        self.run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        self.run("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found", "--wait")
        self.run("kubectl", "delete", "namespace", SYSTEM, "--ignore-not-found", "--wait=true")

    def farewell(self) -> str:
        return (
            f"Everything stays there. Look at it with\n\n"
            f"  kubectl --context {self.context} --namespace {NAMESPACE} get housekeeper\n\n"
            f"and remove it, its namespaces and the three kinds with\n\n  make demo-down CONTEXT={self.context}"
        )


def _program(name: str) -> str:
    """The user's own kubectl or helm, else the one that is built for the embedded cluster."""
    own = shutil.which(name)
    if own is not None:
        return own
    cluster = os.path.join(ROOT, "tests", "cluster", "cluster")
    return subprocess.run(
        [sys.executable, cluster, "tools", name], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
