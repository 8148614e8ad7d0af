"""The operator's runtime against a real API server."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api import names
from housekeeper_operator.cluster.connection import Connection
from housekeeper_operator.cluster.port import Cluster as Port
from housekeeper_operator.cluster.store import Store
from housekeeper_operator.telemetry.metrics import Metrics
from tests.cluster.running import Cluster
from tests.integration.runtime.processes import Processes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

Object = dict[str, Any]


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> None:
    """The definitions of this checkout are installed and served."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", os.path.join(ROOT, "crds"))
    resources = [f"crd/{plural}.{names.GROUP}" for plural in names.PLURALS.values()]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *resources)


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace. No pod runs in it, so that nothing of the controller manager's is waited for."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_")).strip("-")
    name = f"{words[:30].strip('-')}-{secrets.token_hex(3)}"
    cluster.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
async def connection(cluster: Cluster, crds: None, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """As the administrator."""
    monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return await Connection.load()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def port(connection: Connection, store: Store) -> AsyncIterator[Port]:
    """The port, with a store that remembers its writes, and pages of three."""
    made = Port(connection, metrics=Metrics(), store=store, page_size=3)
    yield made
    await made.close()


@pytest.fixture
def processes(cluster: Cluster, crds: None, namespace: str, tmp_path: Path) -> Iterator[Processes]:
    """Operator processes with reconcilers that only write a journal; their Lease is in the test's namespace."""
    started = Processes(cluster, namespace, tmp_path)
    yield started
    started.end()


@pytest.fixture
def policy(namespace: str) -> Callable[..., Object]:
    """`policy("name", schedule="…")`: a manifest of a valid CleanupPolicy in the test's namespace."""

    def build(name: str, **spec: Any) -> Object:
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.CLEANUP_POLICY,
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "schedule": "0 3 * * *",
                "target": {"volume": {"persistentVolumeClaim": {"claimName": "data"}}},
                "rules": [{"name": "all", "select": {"include": ["**/*.dump"]}, "removeOlderThan": "30d"}],
            }
            | spec,
        }

    return build
