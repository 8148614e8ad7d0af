"""Removing a cluster, also one whose command was killed half-way: processes, mounts, namespace, cgroups, files."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

from .errors import ClusterError
from .layout import Layout
from .packages import program
from .parts import network, node, processes

# kubelet first, so that nothing starts pods again; containerd and etcd are needed by those in front of them.
_ORDER = ("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "containerd", "etcd")
_GRACE = {"kubelet": 5.0, "containerd": 5.0}

# Fixed paths of kubelet and of CNI's library that no setting moves.
_DEVICE_PLUGINS = "/var/lib/kubelet/device-plugins"
_CONTAINER_LOGS = "/var/log/containers"
_CNI_RESULTS = "/var/lib/cni/results"


def remove(layout: Layout) -> bool:
    """Remove all of a cluster and return whether there was anything. Safe to repeat after a failure half-way."""
    if not exists(layout):
        return False
    daemons = processes.recorded(layout)
    for name in _ORDER:
        if name == "containerd":
            _kill_pods(layout)
        if name in daemons:
            processes.stop(daemons.pop(name), _GRACE.get(name, 2.0))
    for daemon in daemons.values():
        processes.stop(daemon, 2.0)
    # Not stopped before containerd alone: a containerd that was killed leaves its shims behind.
    _kill_pods(layout)
    for root in (layout.state, layout.run):
        _unmount_below(root)
    network.remove(layout)
    _remove_cgroups(layout)
    _remove_strays(layout)
    for root in (layout.run, layout.state):
        _remove_tree(root)
    return True


def exists(layout: Layout) -> bool:
    """Whether any trace of the cluster is on this machine."""
    traces = [layout.state, layout.run, layout.network_namespace, *node.cgroup_directories(layout)]
    return any(os.path.lexists(trace) for trace in traces)


def _kill_pods(layout: Layout) -> None:
    """Kill the shims (found by their containerd's address, which is this cluster's alone), and all in its cgroups."""
    for shim in processes.matching(["-address", layout.containerd_socket]):
        processes.kill(shim)
    deadline = time.monotonic() + 10.0
    while pids := _cgroup_pids(layout):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes of pods survived SIGKILL: {sorted(pids)}")
        for pid in pids:
            member = processes.identify(pid)
            # Asked again after the process is identified: a pid reused in between is not a member any more.
            if member is not None and pid in _cgroup_pids(layout):
                processes.send(member, signal.SIGKILL)
        time.sleep(0.02)


def _cgroup_pids(layout: Layout) -> set[int]:
    pids: set[int] = set()
    for top in node.cgroup_directories(layout):
        for directory, _, _ in os.walk(top):
            with (
                contextlib.suppress(FileNotFoundError, OSError),
                open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file,
            ):
                pids.update(int(line) for line in file)
    return pids - {0}


def _unmount_below(root: str) -> None:
    """Unmount everything at or below `root`, the last mounted first; what is busy is detached."""
    for path in reversed(mounts_below(root)):
        plain = subprocess.run([program("umount"), path], capture_output=True, check=False)
        if plain.returncode != 0 and path in mounts_below(root):
            subprocess.run([program("umount"), "--lazy", path], capture_output=True, check=False)
    if left := mounts_below(root):
        raise ClusterError(f"cannot unmount {', '.join(left)}")


def mounts_below(root: str) -> list[str]:
    """The mount points at or below a directory, in the order they were mounted."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            # Blank, tab, newline and backslash are octal escapes there.
            path = (
                line.split()[4]
                .encode("utf-8", "surrogateescape")
                .decode("unicode_escape")
                .encode("latin-1")
                .decode("utf-8", "surrogateescape")
            )
            if path == root or path.startswith(root + "/"):
                found.append(path)
    return found


def _remove_cgroups(layout: Layout) -> None:
    for top in node.cgroup_directories(layout):
        for directory, _, _ in os.walk(top, topdown=False):
            _remove_cgroup(directory)


def _remove_cgroup(directory: str) -> None:
    """rmdir; the kernel may call a cgroup busy for a moment after its last process is gone."""
    deadline = time.monotonic() + 5.0
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"cannot remove the cgroup {directory}: {error.strerror}") from error
            time.sleep(0.05)
        else:
            return


def _remove_strays(layout: Layout) -> None:
    """What kubelet and CNI wrote outside of the state directory, as far as it is this cluster's."""
    if os.path.isdir(_CNI_RESULTS):
        for name in os.listdir(_CNI_RESULTS):
            if name.startswith(f"{layout.identity}-"):
                os.unlink(os.path.join(_CNI_RESULTS, name))
    if os.path.isdir(_CONTAINER_LOGS):
        for name in os.listdir(_CONTAINER_LOGS):
            link = os.path.join(_CONTAINER_LOGS, name)
            if os.path.islink(link) and os.readlink(link).startswith(layout.state + "/"):
                os.unlink(link)
    # Shared with any other kubelet of this machine, which needs it no more than ours does while it has no device
    # plugin; so it goes with the last one that can be seen, and only if there is nothing in it but kubelet's own.
    own = {"kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"}
    kubelets = [daemon for daemon in processes.matching([]) if daemon.name == "kubelet"]
    if not kubelets and os.path.isdir(_DEVICE_PLUGINS) and set(os.listdir(_DEVICE_PLUGINS)) <= own:
        shutil.rmtree(_DEVICE_PLUGINS)
    for directory in (os.path.dirname(_DEVICE_PLUGINS), _CONTAINER_LOGS, _CNI_RESULTS, os.path.dirname(_CNI_RESULTS)):
        with contextlib.suppress(OSError):  # not there, or not empty
            os.rmdir(directory)


def _remove_tree(root: str) -> None:
    if left := mounts_below(root):  # never delete into somebody's mounted files
        raise ClusterError(f"still mounted: {', '.join(left)}")
    if not os.path.lexists(root):
        return
    try:
        shutil.rmtree(root)
    except OSError:  # tests may leave files behind that are immutable or append-only
        subprocess.run([program("chattr"), "-R", "-f", "-i", "-a", root], capture_output=True, check=False)
        shutil.rmtree(root)
    with contextlib.suppress(OSError):  # other clusters are beside it
        os.rmdir(os.path.dirname(root))
