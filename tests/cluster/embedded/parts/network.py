"""The network namespace of a cluster: made, entered, removed."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import BRIDGE, NODE_ADDRESS, POD_CIDR, SERVICE_CIDR, Layout
from tests.cluster.embedded.packages import program

_CLONE_NEWNET = 0x40000000


def create(layout: Layout) -> None:
    """Make the namespace with loopback and the pods' bridge up; the bridge must exist before kubelet starts."""
    # A mount keeps the machine's own namespace at hand; /proc/1/ns/net may belong to somebody else, or be forbidden.
    with open(layout.outside_namespace, "wb"):
        pass
    subprocess.run([program("mount"), "--bind", "/proc/self/ns/net", layout.outside_namespace], check=True)
    _ip("netns", "add", layout.identity)
    inside = ("-n", layout.identity)
    _ip(*inside, "link", "set", "lo", "up")
    _ip(*inside, "link", "add", BRIDGE, "type", "bridge")
    _ip(*inside, "address", "add", f"{NODE_ADDRESS}/{POD_CIDR.split('/')[1]}", "dev", BRIDGE)
    _ip(*inside, "link", "set", BRIDGE, "up")
    # Without a default route a Service's address is unreachable before kube-proxy's rules could translate it.
    _ip(*inside, "route", "add", SERVICE_CIDR, "dev", BRIDGE)
    forward = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]
    subprocess.run([*entered(layout), *forward], check=True)


def remove(layout: Layout) -> None:
    """Remove the namespace; what still runs inside would keep it alive unseen, so that has to be gone before."""
    if os.path.exists(layout.network_namespace):
        _ip("netns", "delete", layout.identity)


def entered(layout: Layout) -> list[str]:
    """The words in front of a command that run it inside, in the same process.

    Not `ip netns exec`: that makes a mount namespace too, and kubelet's mounts would be invisible to containerd.
    """
    return [program("nsenter"), f"--net={layout.network_namespace}", "--"]


def enter(namespace: str) -> None:
    """Move the calling thread, and threads and processes that it starts later, into the namespace at this path.

    Other threads stay where they are: call it while there is only one, or from the thread that is meant.
    """
    try:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ClusterError(f"there is no network namespace {namespace}: is the cluster up?") from None
    try:
        _set_namespace(descriptor)
    finally:
        os.close(descriptor)


def inside(layout: Layout) -> contextlib.AbstractContextManager[None]:
    """Be in the cluster's namespace for a while, with the calling thread only, and then back where it was."""
    return _visiting(layout.network_namespace)


def outside(layout: Layout) -> contextlib.AbstractContextManager[None]:
    """Be in the machine's own namespace for a while, with the calling thread only, and then back where it was."""
    return _visiting(layout.outside_namespace)


@contextlib.contextmanager
def _visiting(namespace: str) -> Iterator[None]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace)
        try:
            yield
        finally:
            _set_namespace(before)
    finally:
        os.close(before)


def _set_namespace(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise ClusterError(f"cannot enter the network namespace: {os.strerror(ctypes.get_errno())}")


def _ip(*arguments: str) -> None:
    result = subprocess.run([program("ip"), *arguments], text=True, capture_output=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
