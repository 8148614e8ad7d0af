"""The daemons of a cluster: started apart from us, recorded on disk, signalled only while they are who they were."""

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator

from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import Layout

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A recorded process. `start_time` is in clock ticks since boot: with the pid it names one process for ever."""

    name: str
    arguments: list[str]
    pid: int
    start_time: int

    @property
    def state(self) -> str:
        """`running`, `stopped` (by SIGSTOP), or `dead`."""
        found = _stat(self.pid)
        if found is None or found[1] != self.start_time or found[0] in "ZX":
            return "dead"
        return "stopped" if found[0] in "Tt" else "running"


def start(layout: Layout, name: str, arguments: list[str]) -> Daemon:
    """Start a daemon in a session of its own, its output appended to logs/NAME.log, and record it."""
    os.makedirs(layout.path("processes"), exist_ok=True)
    with open(layout.path("logs", f"{name}.log"), "ab") as log:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_ENVIRONMENT,
            cwd=layout.state,
            start_new_session=True,
        )
    found = _stat(process.pid)
    if found is None:
        raise ClusterError(f"{name} vanished while it was started")
    # Ours to reap only until this command ends; then init's. An unreaped one is a zombie, which counts as dead.
    process.returncode = 0
    daemon = Daemon(name, arguments, process.pid, found[1])
    record = layout.path("processes", f"{name}.json")
    with open(record + ".new", "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(daemon), file)
    os.replace(record + ".new", record)
    return daemon


def recorded(layout: Layout) -> dict[str, Daemon]:
    """All daemons ever started for this cluster, dead ones too, by name."""
    directory = layout.path("processes")
    daemons = {}
    for file_name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        if file_name.endswith(".json"):
            with open(os.path.join(directory, file_name), encoding="utf-8") as file:
                daemon = Daemon(**json.load(file))
            daemons[daemon.name] = daemon
    return daemons


def restart(layout: Layout, name: str) -> Daemon:
    """Start a dead daemon again with the arguments that it had."""
    daemon = find(layout, name)
    if daemon.state != "dead":
        raise ClusterError(f"{name} is {daemon.state} (pid {daemon.pid})")
    return start(layout, name, daemon.arguments)


def find(layout: Layout, name: str) -> Daemon:
    """The recorded daemon of this name; ClusterError with the names there are."""
    daemons = recorded(layout)
    if name not in daemons:
        raise ClusterError(f"cluster {layout.name} has no component {name!r}; it has: {', '.join(daemons) or 'none'}")
    return daemons[name]


def send(daemon: Daemon, number: signal.Signals) -> bool:
    """Signal a daemon through a pidfd, so that a reused pid is never hit; False when it was dead already."""
    try:
        descriptor = os.pidfd_open(daemon.pid)
    except ProcessLookupError:
        return False
    try:
        if daemon.state == "dead":  # asked after the pidfd was opened: from here on it can only be this process
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        return True
    finally:
        os.close(descriptor)


def stop(daemon: Daemon, grace: float) -> None:
    """SIGTERM (a stopped one is continued, to see it), after `grace` seconds SIGKILL; returns when it is dead."""
    if not send(daemon, signal.SIGTERM):
        return
    send(daemon, signal.SIGCONT)
    if not wait_dead(daemon, grace):
        kill(daemon)


def kill(daemon: Daemon) -> None:
    """SIGKILL, and wait until it is dead."""
    send(daemon, signal.SIGKILL)
    if not wait_dead(daemon, 10.0):
        raise ClusterError(f"{daemon.name} (pid {daemon.pid}) survived SIGKILL: see /proc/{daemon.pid}/stack")


def wait_dead(daemon: Daemon, seconds: float) -> bool:
    """Whether the daemon died within so many seconds, and holds no port and no file any more.

    A process is a zombie as soon as its first thread has ended, and its sockets live as long as the last one. A pidfd
    tells of that one.
    """
    try:
        descriptor = os.pidfd_open(daemon.pid)
    except ProcessLookupError:
        return True
    try:
        found = _stat(daemon.pid)
        if found is None or found[1] != daemon.start_time:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def matching(pattern: list[str]) -> Iterator[Daemon]:
    """Processes of this machine with all these words in their command line: how containerd's shims are found."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found = _stat(int(entry))
        if found is not None and all(word in words for word in pattern):
            yield Daemon(os.path.basename(words[0]), words, int(entry), found[1])


def identify(pid: int) -> Daemon | None:
    """The process that has this pid now."""
    found = _stat(pid)
    return None if found is None else Daemon(f"process {pid}", [], pid, found[1])


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time from /proc/PID/stat, or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # the command's name may hold blanks and brackets
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[19])
