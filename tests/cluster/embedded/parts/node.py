"""The node: containerd with runc and CNI, kubelet, kube-proxy; their arguments and configuration files."""

import json
import os

from tests.cluster.embedded.artifacts.tools import tool
from tests.cluster.embedded.layout import BRIDGE, CLUSTER_DOMAIN, NODE_ADDRESS, POD_CIDR, Layout
from tests.cluster.embedded.packages import program

PAUSE_IMAGE = "housekeeper.internal/pause:1"
_CNI_PLUGINS = "/usr/lib/cni"


def containerd(layout: Layout) -> list[str]:
    """The container runtime, with nothing in common with another containerd of this machine but its program."""
    return [program("containerd"), "--config", layout.path("containerd.toml")]


def kubelet(layout: Layout) -> list[str]:
    """The node's agent."""
    return [
        tool("kubelet"),
        f"--config={layout.path('kubelet.json')}",
        f"--kubeconfig={layout.path('pki', 'kubelet.kubeconfig')}",
        f"--root-dir={layout.path('kubelet')}",
        f"--hostname-override={layout.node_name}",
        f"--node-ip={NODE_ADDRESS}",
    ]


def kube_proxy(layout: Layout) -> list[str]:
    """Services, by iptables rules inside the namespace."""
    return [tool("kube-proxy"), f"--config={layout.path('kube-proxy.json')}", f"--hostname-override={layout.node_name}"]


def cgroup_directories(layout: Layout) -> list[str]:
    """The cluster's cgroup in every hierarchy of this machine (one on cgroup v2), parents of all its pods."""
    root = "/sys/fs/cgroup"
    if os.path.exists(os.path.join(root, "cgroup.controllers")):
        return [os.path.join(root, layout.identity)]
    return sorted({os.path.join(root, hierarchy, layout.identity) for hierarchy in os.listdir(root)})


def write_configuration(layout: Layout) -> None:
    """Write the configuration files of all parts of the node."""
    _write(layout.path("containerd.toml"), _containerd_toml(layout))
    _write(layout.path("cni", "10-pods.conflist"), json.dumps(_cni(layout), indent=2))
    _write(layout.path("kubelet.json"), json.dumps(_kubelet_configuration(layout), indent=2))
    _write(layout.path("kube-proxy.json"), json.dumps(_kube_proxy_configuration(layout), indent=2))
    # What a pod with dnsPolicy Default gets: a name server that refuses at once, instead of the machine's own, which
    # cannot be reached from the namespace and would be waited for.
    _write(layout.path("resolv.conf"), f"nameserver {NODE_ADDRESS}\noptions timeout:1 attempts:1\n")


def _containerd_toml(layout: Layout) -> str:
    quoted = json.dumps  # TOML's basic strings are JSON's
    return f"""version = 2
root = {quoted(layout.path("containerd"))}
state = {quoted(layout.run + "/containerd")}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = {quoted(layout.containerd_socket)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {quoted(PAUSE_IMAGE)}
  # Where root may not lower its oom_score_adj, every sandbox would die with "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  # Below the state directory, where `down` finds them, and not among the machine's own namespaces.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {quoted(_CNI_PLUGINS)}
    conf_dir = {quoted(layout.path("cni"))}
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def _cni(layout: Layout) -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": layout.identity,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": layout.path("addresses"),
                    "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_ADDRESS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet_configuration(layout: Layout) -> dict[str, object]:
    certificates = layout.path("pki")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{certificates}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{certificates}/kubelet.crt",
        "tlsPrivateKeyFile": f"{certificates}/kubelet.key",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.identity}",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxPods": 250,
        "podLogsDir": layout.path("pod-logs"),
        "volumePluginDir": layout.path("volume-plugins"),
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [NODE_ADDRESS],
        "resolvConf": layout.path("resolv.conf"),
        # A full disk on the machine is no reason to evict a test's pods, nor to throw the images away.
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    }


def _kube_proxy_configuration(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": layout.path("pki", "kube-proxy.kubeconfig")},
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "oomScoreAdj": 0,
        # The limit is the whole machine's, and not ours to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
        # Two pods of one bridge answer each other directly, past the rules that would translate the answer's address
        # back; with the source rewritten too, the answer passes the node.
        "iptables": {"masqueradeAll": True, "minSyncPeriod": "0s"},
    }


def _write(path: str, content: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
