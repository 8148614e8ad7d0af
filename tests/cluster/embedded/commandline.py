"""The command: what a person or a Makefile types."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable

from . import diagnosis, lifecycle, packages, removal
from .artifacts import archive, images, tools
from .errors import ClusterError
from .layout import POD_CIDR, SERVICE_CIDR, Layout
from .parts import network, processes
from .progress import say

_UNREACHABLE_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage; `exec` returns its command's own."""
    options = _parser().parse_args(arguments)
    run: Callable[[Layout, argparse.Namespace], int] = options.run
    try:
        return run(Layout(options.name), options)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output (`head`, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("cluster: interrupted; the next `up` or `down` removes what was begun", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster", description="A real Kubernetes 1.34 on this machine, in a network namespace of its own."
    )
    parser.add_argument(
        "--name", default="test", help="which cluster; several stand side by side (default: %(default)s)"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[Layout, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    command("up", _up, "start the cluster, unless it is up; remove first what a killed run left")
    command("down", _down, "stop the cluster and remove everything of it")
    command("status", _status, "say whether the cluster can be used; exit code 1 if not")
    sub = command(
        "exec", _exec, "run a command in the cluster's network, with KUBECONFIG set and kubectl and helm on PATH"
    )
    sub.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND [ARGUMENT…]")
    sub = command("load", _load, "load image archives (OCI or docker) into the cluster")
    sub.add_argument("archive", nargs="+")
    sub = command("images", _images, "build the project's images, and load them into the cluster if it is up")
    sub.add_argument(
        "image",
        nargs="*",
        metavar="IMAGE",
        help=f"of {', '.join(images.TARGETS)}; operator and worker if none is named",
    )
    sub = command("tools", _tools, "build tools, without a cluster, and print their paths")
    sub.add_argument(
        "tool", nargs="*", metavar="TOOL", help=f"one of {', '.join(sorted(tools.TOOLS))}; all if none is named"
    )
    sub = command("diagnose", _diagnose, "write everything needed to understand a failure into a directory")
    sub.add_argument("directory")
    command("kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    sub = command(
        "component", _component, "stop, continue, kill or start a part of the cluster, to see what an outage does"
    )
    sub.add_argument("action", choices=["stop", "cont", "kill", "start"], help="SIGSTOP, SIGCONT, SIGKILL, start again")
    sub.add_argument("component", help="as `status` lists them")
    return parser


def _up(layout: Layout, _: argparse.Namespace) -> int:
    if not lifecycle.up(layout):
        say(f"cluster {layout.name} is up already")
    return 0


def _down(layout: Layout, _: argparse.Namespace) -> int:
    begin = time.monotonic()
    found = lifecycle.down(layout)
    say(
        f"cluster {layout.name} is removed ({time.monotonic() - begin:.1f} s)"
        if found
        else f"there is no cluster {layout.name}"
    )
    return 0


def _status(layout: Layout, _: argparse.Namespace) -> int:
    health = lifecycle.look(layout)
    print(f"cluster {layout.name}: {health.reason}")
    for name, daemon in processes.recorded(layout).items():
        print(f"  {name:<24} {daemon.state:<8} pid {daemon.pid}")
    return 0 if health.usable else 1


def _exec(layout: Layout, options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise ClusterError("exec needs a command: cluster exec -- kubectl get pods")
    packages.require_root("entering the cluster's network")
    network.enter(layout.network_namespace)
    environment = inside_environment(layout)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  # that is what the command is for
    except OSError as error:
        print(f"cluster: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def inside_environment(layout: Layout) -> dict[str, str]:
    """The environment of a command in the cluster: its tools first on PATH, and no proxy, which it could not reach."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNREACHABLE_PROXIES}
    return {
        **kept,
        "PATH": layout.path("bin") + os.pathsep + os.environ.get("PATH", os.defpath),
        "KUBECONFIG": layout.kubeconfig,
        "HOUSEKEEPER_CLUSTER_NAME": layout.name,
        "NO_PROXY": f"localhost,127.0.0.1,{POD_CIDR},{SERVICE_CIDR}",
    }


def _load(layout: Layout, options: argparse.Namespace) -> int:
    for path in options.archive:
        for image in archive.load(layout, path):
            say(f"loaded {image}")
    return 0


def _images(layout: Layout, options: argparse.Namespace) -> int:
    archives = images.build(options.image or ["operator", "worker"])
    if os.path.exists(layout.containerd_socket):
        images.load(layout, archives)
    for path in archives.values():
        print(path)
    return 0


def _tools(_: Layout, options: argparse.Namespace) -> int:
    for name in options.tool or sorted(tools.TOOLS):
        print(tools.tool(name))
    return 0


def _diagnose(layout: Layout, options: argparse.Namespace) -> int:
    packages.require_root("reading the cluster's logs")
    if not removal.exists(layout):
        raise ClusterError(f"there is no cluster {layout.name}")
    diagnosis.collect(layout, options.directory)
    print(options.directory)
    return 0


def _kubeconfig(layout: Layout, _: argparse.Namespace) -> int:
    print(layout.kubeconfig)
    return 0


def _component(layout: Layout, options: argparse.Namespace) -> int:
    if options.action == "start":
        daemon = processes.restart(layout, options.component)
        say(f"{daemon.name} is started again (pid {daemon.pid})")
        return 0
    daemon = processes.find(layout, options.component)
    if options.action == "kill":
        processes.kill(daemon)
        return 0
    if not processes.send(daemon, signal.SIGSTOP if options.action == "stop" else signal.SIGCONT):
        raise ClusterError(f"{daemon.name} is dead (pid {daemon.pid})")
    return 0
