"""Scenarios run against the chart, installed by Helm in a real cluster, one namespace a test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.operator import Operator
from tests.e2e.site import Site


@pytest.fixture(scope="session")
def operator(cluster: Any, project_images: None) -> Iterator[Operator]:
    """Housekeeper, installed with Helm; replicas, deaths and outages are had from it."""
    installed = Operator(cluster)
    installed.install()
    yield installed
    installed.uninstall()


@pytest.fixture
def second_namespace(cluster: Any, namespace: str) -> Iterator[str]:
    """Another namespace besides the test's own."""
    name = f"{namespace}-other"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.api.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    yield name
    cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def mounted(cluster: Any, namespace: str) -> Iterator[Callable[[str], str]]:
    """`mounted("size=20M")`: a directory that is a file system of its own, in memory, with these options."""
    directory = cluster.layout.path("volumes", f"{namespace}-mounted")

    def mount(options: str) -> str:
        os.makedirs(directory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
        os.chown(directory, 65532, 65532)
        return str(directory)

    yield mount
    # Lazily: a pod that is ending may still be in it.
    subprocess.run(["umount", "--lazy", directory], check=False)
    os.rmdir(directory)


@pytest.fixture
def site(cluster: Any, namespace: str, operator: Operator) -> Site:
    """The test's own namespace, with the operator at work."""
    operator.available()
    return Site(cluster.api, namespace)
