"""The arguments and configuration files of etcd, the API server, the controller manager and the scheduler."""

import json

from tests.cluster.embedded.artifacts.tools import tool
from tests.cluster.embedded.layout import API_PORT, CLUSTER_DOMAIN, NODE_ADDRESS, POD_CIDR, SERVICE_CIDR, Layout

# Plain HTTP on the loopback of the namespace, where only the cluster is.
_ETCD = "http://127.0.0.1:2379"
_ISSUER = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"


def etcd(layout: Layout) -> list[str]:
    """The store. A test cluster has nothing to lose, so nothing waits for the disk."""
    return [
        tool("etcd"),
        f"--name={layout.name}",
        f"--data-dir={layout.path('etcd')}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        f"--initial-cluster={layout.name}=http://127.0.0.1:2380",
        "--log-level=warn",
    ]


def api_server(layout: Layout) -> list[str]:
    """The API server, with RBAC, the Node authoriser, and the default admission plugins (Pod Security among them)."""
    return [
        tool("kube-apiserver"),
        # Not loopback: the Service `kubernetes` leads pods to this address.
        f"--advertise-address={NODE_ADDRESS}",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--etcd-servers={_ETCD}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={layout.path('pki', 'ca.crt')}",
        f"--tls-cert-file={layout.path('pki', 'kube-apiserver.crt')}",
        f"--tls-private-key-file={layout.path('pki', 'kube-apiserver.key')}",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={layout.path('pki', 'sa.pub')}",
        f"--service-account-signing-key-file={layout.path('pki', 'sa.key')}",
        # Without these `kubectl logs` and `exec` look the node's name up in a DNS that does not know it.
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={layout.path('pki', 'ca.crt')}",
        f"--kubelet-client-certificate={layout.path('pki', 'kube-apiserver-kubelet-client.crt')}",
        f"--kubelet-client-key={layout.path('pki', 'kube-apiserver-kubelet-client.key')}",
        f"--audit-policy-file={layout.path('audit-policy.json')}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=2000",
    ]


def controller_manager(layout: Layout) -> list[str]:
    """The controllers, each under its own service account."""
    return [
        tool("kube-controller-manager"),
        f"--kubeconfig={layout.path('pki', 'kube-controller-manager.kubeconfig')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--cluster-cidr={POD_CIDR}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--root-ca-file={layout.path('pki', 'ca.crt')}",
        f"--service-account-private-key-file={layout.path('pki', 'sa.key')}",
        f"--cluster-signing-cert-file={layout.path('pki', 'ca.crt')}",
        f"--cluster-signing-key-file={layout.path('pki', 'ca.key')}",
        # Claims bind within a second instead of thirteen.
        "--pvclaimbinder-sync-period=1s",
        # Twenty requests a second, the default, is what tests with hundreds of objects would measure instead of us.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def scheduler(layout: Layout) -> list[str]:
    """The default scheduler."""
    return [
        tool("kube-scheduler"),
        f"--kubeconfig={layout.path('pki', 'kube-scheduler.kubeconfig')}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]


def write_configuration(layout: Layout) -> None:
    """The audit policy: who did what to which object, once for each request, bodies left out."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }
    with open(layout.path("audit-policy.json"), "w", encoding="utf-8") as file:
        json.dump(policy, file, indent=2)
