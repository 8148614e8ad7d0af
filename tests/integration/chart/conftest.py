"""The chart on a real API server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.running import Cluster
from workshop import chart
from workshop.project import ROOT

Helm = Callable[..., str]


@pytest.fixture(scope="session")
def kinds(cluster: Cluster) -> None:
    """The three kinds of this checkout are served."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", os.path.join(ROOT, chart.CRD_SOURCES))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", os.path.join(ROOT, chart.CRD_SOURCES))


@pytest.fixture
def install(cluster: Cluster, namespace: str, kinds: None, project_images: None) -> Iterator[Callable[..., str]]:
    """`install("narrow", "watchNamespaces={a}")` installs a release without the kinds into the test's namespace."""
    releases: list[str] = []

    def install(release: str, *values: str) -> str:
        releases.append(release)
        settings = ("crds.enabled=false", "image.tag=dev", "worker.image.tag=dev", *values)
        sets = [word for setting in settings for word in ("--set", setting)]
        where = ("--namespace", namespace, "--wait", "--timeout", "120s")
        return cluster.run(
            "helm", "install", release, os.path.join(ROOT, chart.CHART), *where, *sets, timeout=180
        ).stdout

    yield install
    for release in releases:
        cluster.run("helm", "uninstall", release, "--namespace", namespace, "--wait", timeout=180)


@pytest.fixture
def refusals(cluster: Cluster) -> Callable[[str], list[str]]:
    """`refusals(user)`: what a user was forbidden to do so far, by the API server's own audit log."""

    def refusals(user: str) -> list[str]:
        found = []
        with open(cluster.audit_log, encoding="utf-8") as log:
            for line in log:
                entry = json.loads(line)
                if entry["user"]["username"] == user and entry.get("responseStatus", {}).get("code") == 403:
                    found.append(f"{entry['verb']} {entry['requestURI']}")
        return found

    return refusals
