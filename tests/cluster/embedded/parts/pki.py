"""Keys, certificates and kubeconfigs of one cluster."""

import base64
import json
import os
import subprocess

from tests.cluster.embedded.artifacts.tools import tool
from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import API_PORT, API_SERVICE_ADDRESS, CLUSTER_DOMAIN, NODE_ADDRESS, Layout

# File name: (common name, organisations). The names are those that Kubernetes' built-in roles are bound to.
_CLIENTS = {
    "admin": ("kubernetes-admin", ["system:masters"]),
    "kube-apiserver-kubelet-client": ("kube-apiserver-kubelet-client", ["system:masters"]),
    "kube-controller-manager": ("system:kube-controller-manager", []),
    "kube-scheduler": ("system:kube-scheduler", []),
    "kube-proxy": ("system:kube-proxy", []),
}


def create(layout: Layout) -> None:
    """Write everything below pki/, and a kubeconfig for the administrator and for each part that talks to the API."""
    requests = [
        {"name": name, "commonName": common_name, "organizations": organizations}
        for name, (common_name, organizations) in _CLIENTS.items()
    ]
    requests += [
        {
            "name": "kube-apiserver",
            "commonName": "kube-apiserver",
            "hosts": [
                API_SERVICE_ADDRESS,
                NODE_ADDRESS,
                "127.0.0.1",
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
            ],
        },
        {
            "name": "kubelet",
            "commonName": f"system:node:{layout.node_name}",
            "organizations": ["system:nodes"],
            "hosts": [layout.node_name, NODE_ADDRESS],
        },
    ]
    directory = layout.path("pki")
    os.makedirs(directory, mode=0o700)
    result = subprocess.run(
        [tool("pki"), directory], input=json.dumps(requests), text=True, capture_output=True, check=False
    )
    if result.returncode != 0:
        raise ClusterError(f"making the certificates failed: {result.stderr.strip()}")
    for user in ("kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"):
        _write_kubeconfig(layout, user, layout.path("pki", f"{user}.kubeconfig"))
    _write_kubeconfig(layout, "admin", layout.kubeconfig)


def _write_kubeconfig(layout: Layout, user: str, path: str) -> None:
    """A kubeconfig that needs no other file. JSON is YAML, and the standard library writes it."""

    def encoded(name: str) -> str:
        with open(layout.path("pki", name), "rb") as file:
            return base64.b64encode(file.read()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": layout.identity,
                "cluster": {
                    "server": f"https://{NODE_ADDRESS}:{API_PORT}",
                    "certificate-authority-data": encoded("ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(f"{user}.crt"),
                    "client-key-data": encoded(f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": layout.identity, "context": {"cluster": layout.identity, "user": user}}],
        "current-context": layout.identity,
    }
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(content, file, indent=2)
