"""A running cluster as tests see it: its API, commands inside it, its parts to break, and waiting with an end."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.cluster.embedded import lifecycle, packages
from tests.cluster.embedded.api import Api
from tests.cluster.embedded.artifacts import images
from tests.cluster.embedded.commandline import inside_environment
from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import Layout
from tests.cluster.embedded.parts import network, processes

Seen = TypeVar("Seen")


class Cluster:
    """One cluster; the process that uses it is in its network namespace already."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.name = layout.name
        self.node_name = layout.node_name
        self.kubeconfig = layout.kubeconfig
        self.audit_log = layout.audit_log
        """What each user asked the API server, a JSON line for each answered request; bodies are left out."""
        self.environment = inside_environment(layout)
        """For commands that are started some other way than by `run`."""
        self.api = Api(layout.kubeconfig)

    def run(
        self, *command: str, check: bool = True, timeout: float = 120.0, **options: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; AssertionError with what it said if it fails, unless `check` is False.

        `options` are `input` (text for its standard input) and `cwd`.
        """
        result = subprocess.run(
            command,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            input=options.get("input", ""),
            cwd=options.get("cwd"),
        )
        if check and result.returncode != 0:
            said = (result.stdout + result.stderr).strip()
            raise AssertionError(f"{' '.join(command)} ended with exit code {result.returncode}:\n{said}")
        return result

    def kubectl(
        self, *arguments: str, check: bool = True, timeout: float = 120.0, **options: str
    ) -> subprocess.CompletedProcess[str]:
        """`run`, with kubectl in front."""
        return self.run("kubectl", *arguments, check=check, timeout=timeout, **options)

    def http(self, url: str, timeout: float = 10.0) -> str:
        """The body of a GET to something inside; HTTPError for an answer of 400 and above."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=timeout) as answer:
            return str(answer.read().decode())

    def load_images(self, *targets: str) -> None:
        """Build what is not built of `base`, `operator`, `worker`, and load it as `housekeeper-TARGET:dev`."""
        with network.outside(self.layout):  # the packages that an image build installs come from beyond this cluster
            images.load(self.layout, images.build(list(targets)))

    def install(self, needs: dict[str, str]) -> None:
        """Have Debian packages on this machine, by a program or file of each and its name; no service is started."""
        with network.outside(self.layout):
            packages.ensure(needs)

    @contextlib.contextmanager
    def frozen(self, component: str) -> Iterator[None]:
        """A part of the cluster is stopped by SIGSTOP for a while: it holds its connections and answers nothing."""
        daemon = processes.find(self.layout, component)
        assert processes.send(daemon, signal.SIGSTOP), f"{component} is dead"
        try:
            yield
        finally:
            processes.send(daemon, signal.SIGCONT)

    @contextlib.contextmanager
    def killed(self, component: str) -> Iterator[None]:
        """A part of the cluster is killed for a while; afterwards it runs, and the cluster is ready again."""
        processes.kill(processes.find(self.layout, component))
        try:
            yield
        finally:
            processes.restart(self.layout, component)
            wait_for(lambda: lifecycle.look(self.layout).usable, 60, f"cluster after a death of {component}")


def wait_for(predicate: Callable[[], Seen], timeout: float = 30.0, describe: str = "") -> Seen:
    """What the predicate returns, as soon as that is true; AssertionError with what it last returned or raised.

    An unanswered or refused request (ClusterError, and with it ApiError) counts as "not yet". Seconds; asks ten times
    a second.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            found = predicate()
            if found:
                return found
            last = found
        except ClusterError as error:
            last = error
        if time.monotonic() > deadline:
            what = describe or getattr(predicate, "__name__", "condition")
            raise AssertionError(f"no {what} within {timeout:g} s; last seen: {last!r}")
        time.sleep(0.1)


def from_environment() -> Cluster | None:
    """The cluster that this process was started in by `cluster exec`, or None."""
    name = os.environ.get("HOUSEKEEPER_CLUSTER_NAME")
    return Cluster(Layout(name)) if name else None
