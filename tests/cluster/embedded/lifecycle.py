"""Bringing a cluster up and looking at it."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable

from . import packages, removal
from .api import Api
from .artifacts import archive, tools
from .errors import ClusterError
from .layout import Layout
from .locking import locked
from .parts import control_plane, network, node, pki, processes
from .progress import say, step

_WAIT_SECONDS = 90.0
# Programs that `exec` offers by name.
_COMMANDS = ("kubectl", "helm", "kubeconform", "cron-oracle")


@dataclasses.dataclass(frozen=True)
class Health:
    """Whether a cluster can be used, and in one sentence why not."""

    usable: bool
    reason: str


def up(layout: Layout) -> bool:
    """Make the cluster usable; returns False when it was already. What a killed run left is removed first."""
    packages.require_root("a cluster")
    with locked(layout.lock, f"the cluster {layout.name}"):
        health = look(layout)
        if health.usable:
            return False
        if removal.exists(layout):
            with step(f"removing what is left of cluster {layout.name} ({health.reason})"):
                removal.remove(layout)
        packages.ensure(packages.CLUSTER_NEEDS)
        for module in ("kubernetes", "helm", "pause"):
            tools.build(module)
        begin = time.monotonic()
        try:
            _start(layout)
        except ClusterError as error:
            raise ClusterError(
                f"{error}\nThe logs are in {layout.path('logs')}; `down` removes what was started."
            ) from error
        say(f"cluster {layout.name} is ready, {time.monotonic() - begin:.1f} s after its first process")
    return True


def down(layout: Layout) -> bool:
    """Remove the cluster; returns whether there was one."""
    packages.require_root("removing a cluster")
    with locked(layout.lock, f"the cluster {layout.name}"):
        return removal.remove(layout)


def look(layout: Layout) -> Health:
    """Find out whether the cluster can be used: its processes, its API server, its node, this checkout's version."""
    daemons = processes.recorded(layout)
    if not daemons:
        return Health(False, "it is not up" if not removal.exists(layout) else "it was left half-made")
    for daemon in daemons.values():
        if daemon.state != "running":
            return Health(False, f"{daemon.name} is {daemon.state}")
    try:
        with open(layout.path("cluster.json"), encoding="utf-8") as file:
            built_from = json.load(file)["key"]
    except FileNotFoundError:
        return Health(False, "its start was not finished")
    if built_from != _content_key():
        return Health(False, "it was started from other sources")
    try:
        return Health(True, "ready") if _inside(layout, _node_is_ready) else Health(False, "its node is not Ready")
    except ClusterError as error:
        return Health(False, str(error))


def _start(layout: Layout) -> None:
    for directory in ("logs", "processes", "bin", "volume-plugins", "volumes", "pod-logs"):
        os.makedirs(layout.path(directory))
    os.makedirs(layout.run, exist_ok=True)
    for name in _COMMANDS:
        if name == "helm" or tools.TOOLS[name] == "kubernetes":
            os.symlink(tools.tool(name), layout.path("bin", name))
    with step("network namespace, certificates, configuration"):
        network.create(layout)
        for directory in node.cgroup_directories(layout):
            os.makedirs(directory, exist_ok=True)
        pki.create(layout)
        control_plane.write_configuration(layout)
        node.write_configuration(layout)
    inside = network.entered(layout)
    with step("etcd, containerd, kube-apiserver"):
        processes.start(layout, "etcd", [*inside, *control_plane.etcd(layout)])
        processes.start(layout, "containerd", [*inside, *node.containerd(layout)])
        processes.start(layout, "kube-apiserver", [*inside, *control_plane.api_server(layout)])
        archive.write_pause_image(layout.path("pause.tar"))
        _wait(layout, "containerd's socket", lambda: os.path.exists(layout.containerd_socket))
        archive.load(layout, layout.path("pause.tar"))
        _wait(layout, "the API server", lambda: _inside(layout, _api_is_ready))
    with step("kube-controller-manager, kube-scheduler, kubelet, kube-proxy"):
        for name, arguments in {
            "kube-controller-manager": control_plane.controller_manager(layout),
            "kube-scheduler": control_plane.scheduler(layout),
            "kubelet": node.kubelet(layout),
            "kube-proxy": node.kube_proxy(layout),
        }.items():
            processes.start(layout, name, [*inside, *arguments])
        _wait(layout, "the node", lambda: _inside(layout, _node_is_ready))
        _wait(layout, "the default service account", lambda: _inside(layout, _tokens_are_made))
    with open(layout.path("cluster.json"), "w", encoding="utf-8") as file:
        json.dump({"key": _content_key()}, file)


def _content_key() -> str:
    """SHA-256 (hex) of what decides how a cluster behaves: its programs, and the code that configures them."""
    digest = hashlib.sha256(tools.content_key(tools.MODULES["kubernetes"]).encode())
    directory = os.path.dirname(node.__file__)
    for name in sorted(entry for entry in os.listdir(directory) if entry.endswith(".py")):
        with open(os.path.join(directory, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def _wait(layout: Layout, what: str, is_there: Callable[[], bool]) -> None:
    """Poll until it is there; stop at once, with its last words, when a daemon of the cluster died meanwhile."""
    deadline = time.monotonic() + _WAIT_SECONDS
    last = ""
    while True:
        try:
            if is_there():
                return
        except ClusterError as error:  # it does not listen yet, or not to everything
            last = f": {error}"
        for daemon in processes.recorded(layout).values():
            if daemon.state == "dead":
                raise ClusterError(f"{daemon.name} ended while waiting for {what}:\n{_tail(layout, daemon.name)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} did not come up in {_WAIT_SECONDS:.0f} s{last}")
        time.sleep(0.1)


def _tail(layout: Layout, name: str) -> str:
    with open(layout.path("logs", f"{name}.log"), encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-10:]).rstrip()


def _inside(layout: Layout, question: Callable[[Api], bool]) -> bool:
    """Ask the API server a question from within the namespace."""
    with network.inside(layout):
        api = Api(layout.kubeconfig, timeout=5.0)
        try:
            return question(api)
        finally:
            api.close()


def _api_is_ready(api: Api) -> bool:
    status, _ = api.raw("GET", "/readyz")
    return status == 200


def _node_is_ready(api: Api) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for member in api.items("/api/v1/nodes")
        for condition in member["status"].get("conditions", [])
    )


def _tokens_are_made(api: Api) -> bool:
    """Whether pods can be made: the service-account controller works."""
    return api.find("/api/v1/namespaces/default/serviceaccounts/default") is not None
