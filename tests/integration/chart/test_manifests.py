"""What users are given to apply is accepted by the API server."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from tests.cluster.running import Cluster
from workshop import chart, documents
from workshop.documents import Block
from workshop.project import ROOT
from workshop.verify import VARIANTS

OURS = [block for block in documents.manifests() if "apiVersion: housekeeper.dev/" in block.text]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_chart_is_accepted(cluster: Cluster, namespace: str, variant: str) -> None:
    # A dry run sees no namespace that does not exist; a ServiceMonitor is not a kind of Kubernetes.
    arguments = [word.replace("{one,two}", f"{{{namespace}}}") for word in VARIANTS[variant]]
    text = chart.render(*arguments, "--set", "metrics.serviceMonitor.enabled=false", namespace=namespace)
    apply = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    answer = cluster.kubectl(*apply, input=text)
    assert answer.stdout.count("serverside-applied") == text.count("\nkind: ")
    assert "Warning" not in answer.stderr


def test_the_plain_manifests_install_with_one_command(cluster: Cluster) -> None:
    path = os.path.join(ROOT, chart.write_manifests())
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert "Helm" not in text
    existed = cluster.api.find(f"/api/v1/namespaces/{chart.MANIFESTS_NAMESPACE}") is not None
    if not existed:
        cluster.kubectl("create", "namespace", chart.MANIFESTS_NAMESPACE)
    answer = cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", path)
    assert "Warning" not in answer.stderr
    assert f"namespace/{chart.MANIFESTS_NAMESPACE} serverside-applied" in answer.stdout
    if not existed:
        cluster.kubectl("delete", "namespace", chart.MANIFESTS_NAMESPACE)


@pytest.mark.parametrize("block", OURS, ids=lambda block: f"{block.path}:{block.line}")
def test_examples_and_documents_are_accepted(cluster: Cluster, namespace: str, kinds: None, block: Block) -> None:
    objects = list(yaml.safe_load_all(block.text))
    for thing in objects:
        thing["metadata"]["namespace"] = namespace  # the documents' own does not exist here
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    answer = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=listing
    )
    assert answer.stdout.count("serverside-applied") == len(objects)
