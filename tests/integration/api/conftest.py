"""The kinds on a real API server."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import pytest

from housekeeper_api import names
from tests.cluster.running import Cluster

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the API server said to a request."""

    status: int
    body: Object

    @property
    def accepted(self) -> bool:
        return self.status < 300

    @property
    def problems(self) -> list[str]:
        """`field: message` for each cause of a refusal; else the whole message."""
        causes = self.body.get("details", {}).get("causes", ())
        return [f"{cause.get('field')}: {cause['message']}" for cause in causes] or [self.body.get("message", "")]


class Server:
    """Our kinds, as the API server takes them."""

    def __init__(self, cluster: Cluster) -> None:
        self._api = cluster.api

    def create(self, manifest: Object, *, namespace: str = "default", dry_run: bool = True) -> Answer:
        """Create an object as kubectl does, refusing unknown fields; by default without storing it."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return self._ask("POST", self._path(manifest["kind"], namespace), manifest, "application/json", query)

    def patch(
        self,
        kind: str,
        name: str,
        patch: Object,
        *,
        namespace: str,
        subresource: str = "",
        field_validation: str = "Strict",
    ) -> Answer:
        """Merge a patch into an object, or into its status."""
        path = f"{self._path(kind, namespace)}/{name}{subresource and '/' + subresource}"
        return self._ask("PATCH", path, patch, "application/merge-patch+json", {"fieldValidation": field_validation})

    def get(self, kind: str, name: str, *, namespace: str) -> Object:
        """An object as it is stored."""
        return self._api.get(f"{self._path(kind, namespace)}/{name}")

    def _ask(self, method: str, path: str, body: Object, content_type: str, query: dict[str, str]) -> Answer:
        status, payload = self._api.raw(method, path, body, content_type, query)
        return Answer(status, json.loads(payload))

    def _path(self, kind: str, namespace: str) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURALS[kind]}"


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> None:
    """The definitions of this checkout are installed and served. Applying them again changes nothing."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", os.path.join(ROOT, "crds"))
    resources = [f"crd/{plural}.{names.GROUP}" for plural in names.PLURALS.values()]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *resources)


@pytest.fixture(scope="session")
def server(cluster: Cluster, crds: None) -> Server:
    """The API server with our kinds."""
    return Server(cluster)
