"""A pytest plugin (`-p tests.cluster.fixtures`): one cluster a session, a namespace a test, volumes, and the evidence
of a failure in its report.

Run pytest as root, in one of two ways, which look the same to a test:

- plainly: the session's first use of `cluster` brings the cluster `test` up and moves pytest's main thread into its
  network, so that any client, server or subprocess that a test starts from there is in it too. At the end the cluster
  is removed if the session started it, unless HOUSEKEEPER_CLUSTER_KEEP is set; one that was up before stays up.
- by `tests/cluster/cluster exec -- pytest …`: all of pytest is in that cluster's network from the start, and the
  cluster is left as it is.
"""

import os
import re
import secrets
import subprocess
from collections.abc import Callable, Generator, Iterator

import pytest

from tests.cluster import running
from tests.cluster.embedded import diagnosis, lifecycle
from tests.cluster.embedded.layout import Layout
from tests.cluster.embedded.parts import network
from tests.cluster.running import Cluster
from tests.cluster.volumes import Volumes

OPERATOR_NAMESPACE = "housekeeper-system"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The session's cluster; `up` is logged on stderr, shown by `-s` or when something fails."""
    entered = running.from_environment()
    if entered is not None:
        yield entered
        entered.api.close()
        return
    layout = Layout("test")
    started = lifecycle.up(layout)
    with network.inside(layout):
        found = Cluster(layout)
        yield found
        found.api.close()
    if started and not os.environ.get("HOUSEKEEPER_CLUSTER_KEEP"):
        lifecycle.down(layout)


@pytest.fixture(scope="session")
def project_images(cluster: Cluster) -> None:
    """`housekeeper-operator:dev` and `housekeeper-worker:dev` of this checkout are in the cluster."""
    cluster.load_images("operator", "worker")


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`kubectl("get", "pods", "-n", namespace, check=True, input=…, timeout=…)`; see Cluster.run."""
    return cluster.kubectl


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace that enforces Pod Security `restricted`; its deletion is not waited for."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_")).strip("-")
    name = f"{words[:30].strip('-')}-{secrets.token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.api.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    # After a death of the API server the controller manager waits up to a minute before it looks again.
    running.wait_for(lambda: cluster.api.find(account), 90, "default service account, without which there are no pods")
    yield name
    cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def volume(cluster: Cluster, namespace: str) -> Iterator[Volumes]:
    """`volume({"logs/a.log": 60}, owner=65532)` makes a volume with a file of 60 days; see Volumes.__call__."""
    volumes = Volumes(cluster, namespace)
    yield volumes
    volumes.remove()


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., object]:
    """`wait_for(predicate, timeout, describe)`; see running.wait_for."""
    return running.wait_for


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the cluster knows to the report of a failed test, before its namespace is deleted."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    if report.failed and isinstance(arguments.get("cluster"), Cluster):
        api = arguments["cluster"].api
        for name in dict.fromkeys([arguments.get("namespace"), OPERATOR_NAMESPACE]):
            if name is not None:
                report.sections.append((f"namespace {name}", diagnosis.describe_namespace(api, name)))
    return report
