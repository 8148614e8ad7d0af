"""Debian packages: what is missing is installed, without starting any service."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

from .errors import ClusterError
from .layout import cache_directory
from .locking import locked
from .progress import say, step

_POLICY = "/usr/sbin/policy-rc.d"
_ASIDE = "/usr/sbin/policy-rc.d.housekeeper-aside"
_SEARCH = os.pathsep.join(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])

# A file that a package brings, and the package; what is there already, from wherever, is left alone.
CLUSTER_NEEDS = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "nsenter": "util-linux",
    "mount": "mount",
}
IMAGE_NEEDS = {"buildah": "buildah", "debootstrap": "debootstrap"}


def program(name: str) -> str:
    """The path of a program, also of one in a `sbin` that is not on the user's PATH."""
    found = shutil.which(name) or shutil.which(name, path=_SEARCH)
    if found is None:
        raise ClusterError(f"the program {name} is missing")
    return found


def require_root(action: str) -> None:
    """Refuse early what only root can do."""
    if os.geteuid() != 0:
        raise ClusterError(f"{action} needs root (it makes namespaces, mounts and cgroups); run it as root")


def ensure(needs: dict[str, str]) -> None:
    """Install the packages whose file or program is absent; one clear sentence where that is not possible."""
    if not _missing(needs):
        return
    with locked(os.path.join(cache_directory(), "apt.lock"), "apt"):
        missing = _missing(needs)
        if not missing:
            return
        listed = " ".join(missing)
        if shutil.which("apt-get") is None:
            raise ClusterError(f"missing on this machine, which has no apt-get: {listed}")
        if os.geteuid() != 0:
            raise ClusterError(
                f"missing on this machine: {listed}; as root: apt-get install --no-install-recommends {listed}"
            )
        with step("apt-get update"):
            _apt(["update"])
        with step(f"apt-get install {listed}"), _no_services():
            _apt(["install", "--yes", "--no-install-recommends", *missing])
        if still := _missing(needs):
            raise ClusterError(f"apt-get installed {listed}, and these are missing still: {' '.join(still)}")


def _missing(needs: dict[str, str]) -> list[str]:
    return [
        package
        for need, package in needs.items()
        if not (
            os.path.exists(need) if need.startswith("/") else shutil.which(need, path=_SEARCH) or shutil.which(need)
        )
    ]


def _apt(arguments: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300", *arguments]
    result = subprocess.run(command, env=environment, text=True, check=False, capture_output=True)
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise ClusterError(f"{' '.join(command)} failed with exit code {result.returncode}:\n{tail}")


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep package scripts from starting daemons (containerd's would), and restore what said so before."""
    if os.path.lexists(_ASIDE):  # a killed run left it: that one is the original
        os.replace(_ASIDE, _POLICY)
    had_policy = os.path.lexists(_POLICY)
    if had_policy:
        os.rename(_POLICY, _ASIDE)
    try:
        with open(_POLICY, "x", encoding="ascii") as script:
            script.write("#!/bin/sh\nexit 101\n")
            os.fchmod(script.fileno(), 0o755)
        yield
    finally:
        if had_policy:
            os.replace(_ASIDE, _POLICY)
        else:
            os.unlink(_POLICY)
        say("services were kept from starting; the policy that was there is back")
