"""Where everything lies: the cache that outlives clusters, and the state of one cluster."""

import dataclasses
import os
import re

from .errors import ClusterError

SOURCES = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""tests/cluster in the checkout: the Go modules and this package."""

CHECKOUT = os.path.dirname(os.path.dirname(SOURCES))
"""The project's root: Dockerfile and the sources of its images."""

POD_CIDR = "10.244.0.0/16"
NODE_ADDRESS = "10.244.0.1"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
API_PORT = 6443
CLUSTER_DOMAIN = "cluster.local"
BRIDGE = "pods0"

# Part of the name of a network namespace, a cgroup and a Unix socket (at most 108 bytes with its directory).
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?")


def cache_directory() -> str:
    """The root of what is built once and kept: $HOUSEKEEPER_CACHE, or `housekeeper` in the user's cache."""
    chosen = os.environ.get("HOUSEKEEPER_CACHE")
    if chosen:
        return os.path.abspath(chosen)
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(user_cache, "housekeeper")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths and names of one cluster; nothing here touches the disk."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ClusterError(f"{self.name!r} is no name for a cluster: use 1 to 20 of a-z, 0-9 and '-' inside")

    @property
    def state(self) -> str:
        """Everything of this cluster that is on disk; `down` removes it."""
        root = os.environ.get("HOUSEKEEPER_CLUSTER_STATE") or "/var/lib/housekeeper-cluster"
        return os.path.join(os.path.abspath(root), self.name)

    @property
    def lock(self) -> str:
        """Beside the state, because it must survive the state's removal."""
        return self.state + ".lock"

    @property
    def run(self) -> str:
        """Sockets and mounts; short, because a Unix socket's path is at most 108 bytes."""
        return f"/run/housekeeper-cluster/{self.name}"

    @property
    def identity(self) -> str:
        """The name of the network namespace, the cgroup and the CNI network."""
        return f"housekeeper-{self.name}"

    @property
    def network_namespace(self) -> str:
        return f"/run/netns/{self.identity}"

    @property
    def outside_namespace(self) -> str:
        """The network namespace that `up` was called in, for what a process inside has to do outside."""
        return f"{self.run}/outside"

    @property
    def node_name(self) -> str:
        return f"{self.name}-node"

    @property
    def containerd_socket(self) -> str:
        return f"{self.run}/containerd.sock"

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig."""
        return self.path("kubeconfig")

    @property
    def audit_log(self) -> str:
        return self.path("logs", "audit.log")

    def path(self, *parts: str) -> str:
        """A path below the state directory."""
        return os.path.join(self.state, *parts)
